//! Revivals: concurrent calls, failed starts, and a store that is away.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt;
use rejoin_core::{Authority, EventKind, Hub, MemoryTerminal, Session, Store, TerminalEvent};
use rejoin_protocol::{ErrorCode, Exit, SessionStatus, TerminalSize};
use tokio::{sync::mpsc, task::yield_now, time::sleep};

use crate::{
    lifetimes::UnreliableStore,
    session::{contains, read_until, start},
    support::{hub, hub_with, identity},
};

/// Starts a terminal whose program is lost.
async fn start_lost(hub: &Hub, programs: &mut mpsc::Receiver<MemoryTerminal>) -> Session {
    let (session, program) = start(hub, programs).await;
    let reason = "the program was lost: its keeper was ended".to_owned();
    program.events.send(TerminalEvent::Lost { reason }).await.unwrap();
    read_until(&session, |frame| contains(frame, "was lost")).await;
    session
}

#[tokio::test]
async fn racing_revivals_start_one_session() {
    let (hub, mut programs, _shutdown) = hub();
    let lost = start_lost(&hub, &mut programs).await;
    let ann = identity("ann");
    let revive = async || hub.revive_terminal(&ann, &lost).await;
    let (one, two, three) = tokio::join!(revive(), revive(), revive());

    let (revived, refused): (Vec<_>, Vec<_>) =
        [one, two, three].into_iter().partition(Result::is_ok);
    assert_eq!((revived.len(), refused.len()), (1, 2));
    for error in refused {
        assert_eq!(error.unwrap_err().code, ErrorCode::SessionNotLost);
    }
    let new = revived.into_iter().next().unwrap().unwrap();
    assert_eq!(lost.info().revived_as.as_ref(), Some(new.id()));
    assert_eq!(new.info().revived_from.as_ref(), Some(lost.id()));

    // One program, and the next refusal names its session.
    programs.recv().await.unwrap();
    assert!(programs.try_recv().is_err());
    let late = revive().await.unwrap_err();
    assert!(late.message.contains(new.id().as_str()), "{late:?}");
}

#[tokio::test]
async fn only_a_lost_session_of_the_caller_is_revived() {
    let (hub, mut programs, _shutdown) = hub();
    let refusal = async |session: &Session, user: &str| {
        hub.revive_terminal(&identity(user), session).await.unwrap_err()
    };
    let (session, program) = start(&hub, &mut programs).await;
    let error = refusal(&session, "ann").await;
    assert_eq!(error.code, ErrorCode::SessionNotLost);
    assert!(error.message.contains("runs"), "{error:?}");

    // The program ended, only its exit status is unknown.
    program.events.send(TerminalEvent::Exit(Exit::default())).await.unwrap();
    read_until(&session, |frame| contains(frame, "unknown")).await;
    assert_eq!((session.info().status, session.info().lost), (SessionStatus::Error, false));
    let error = refusal(&session, "ann").await;
    assert!(error.message.contains("ended by itself"), "{error:?}");

    let lost = start_lost(&hub, &mut programs).await;
    assert!(lost.info().lost);
    let error = refusal(&lost, "bob").await;
    assert_eq!(error.code, ErrorCode::Forbidden);
    assert!(error.message.contains("`ann`"), "{error:?}");

    hub.close_session(&lost).await;
    assert_eq!(refusal(&lost, "ann").await.code, ErrorCode::UnknownSession);
    assert!(programs.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_or_failed_revival_permits_another() {
    let store = Arc::<UnreliableStore>::default();
    let (hub, mut programs, _shutdown) =
        hub_with(|config| config.store = Arc::clone(&store) as Arc<dyn Store>);
    let lost = start_lost(&hub, &mut programs).await;
    let ann = identity("ann");

    // A request that is dropped while it waits for the store.
    store.is_away.store(true, Ordering::SeqCst);
    assert!(hub.revive_terminal(&ann, &lost).now_or_never().is_none());
    let error = hub.revive_terminal(&ann, &lost).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Overloaded);
    assert_eq!(lost.info().revived_as, None);

    store.is_away.store(false, Ordering::SeqCst);
    // The most time between two attempts; the clock is paused.
    sleep(Duration::from_secs(6)).await;
    let new = hub.revive_terminal(&ann, &lost).await.unwrap();
    programs.recv().await.unwrap();
    assert!(programs.try_recv().is_err(), "one program");
    assert_eq!(lost.info().revived_as.as_ref(), Some(new.id()));

    let history = hub.session_history(lost.id(), &ann, 0, 10).await.unwrap();
    let events: Vec<_> = history.events.iter().map(|event| event.event).collect();
    let expected = [EventKind::Created, EventKind::Started, EventKind::Lost, EventKind::Revived];
    assert_eq!(events, expected);
    assert_eq!(history.events[3].user.as_ref(), Some(&ann.identity().user));
    assert_eq!(history.row.revived_as.as_ref(), Some(new.id()));
}

#[tokio::test]
async fn a_revived_program_has_the_last_size() {
    let (hub, mut programs, _shutdown) = hub();
    let (session, program) = start(&hub, &mut programs).await;
    session.resize(TerminalSize::new(97, 31).unwrap()).unwrap();
    read_until(&session, |frame| contains(frame, "97")).await;
    let reason = "the program was lost".to_owned();
    program.events.send(TerminalEvent::Lost { reason }).await.unwrap();
    read_until(&session, |frame| contains(frame, "was lost")).await;

    hub.revive_terminal(&identity("ann"), &session).await.unwrap();
    let launch = programs.recv().await.unwrap().launch;
    assert_eq!((launch.size.cols(), launch.size.rows()), (97, 31));
    assert_eq!(launch.record.revived_from.as_ref(), Some(session.id()));
}

#[tokio::test]
async fn lost_sessions_stay_up_to_the_session_limit() {
    const LIMIT: usize = 60;
    let (hub, mut programs, _shutdown) = hub_with(|config| config.limits.sessions_per_user = LIMIT);
    let count = |lost| {
        let sessions = hub.sessions(&identity("ann"));
        sessions.iter().filter(|session| session.info().lost == lost).count()
    };
    let mut started = Vec::new();
    for _ in 0..LIMIT {
        started.push(start(&hub, &mut programs).await);
    }
    // All at once, as a restart of the machine does it.
    for (_, program) in &started {
        let reason = "the program was lost".to_owned();
        program.events.send(TerminalEvent::Lost { reason }).await.unwrap();
    }
    for (session, _) in &started {
        read_until(session, |frame| contains(frame, "was lost")).await;
    }
    for _ in 0..3 {
        start_lost(&hub, &mut programs).await;
    }
    while count(true) > LIMIT {
        yield_now().await;
    }

    // Those that ended by themselves have a bound of their own.
    for _ in 0..51 {
        let (session, program) = start(&hub, &mut programs).await;
        let exit = Exit { code: Some(0), signal: None };
        program.events.send(TerminalEvent::Exit(exit)).await.unwrap();
        read_until(&session, |frame| contains(frame, "terminated")).await;
    }
    while count(false) > 50 {
        yield_now().await;
    }
    assert_eq!(count(true), LIMIT);
}

#[tokio::test]
async fn a_stop_refuses_revivals() {
    let (hub, mut programs, shutdown) = hub();
    let lost = start_lost(&hub, &mut programs).await;
    shutdown.begin();
    let error = hub.revive_terminal(&identity("ann"), &lost).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Overloaded);
    assert!(error.message.contains("stopping"), "{error:?}");
    assert!(programs.try_recv().is_err());
}
