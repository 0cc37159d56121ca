//! Lifetimes: idle time-outs, and a store that is away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::poll;
use rejoin_core::{
    BoxFuture, Change, Control, CreateTerminal, EventKind, IdleTimeout, MemoryStore, SessionEvent,
    SessionRow, Store, StoreError, TerminalEvent,
};
use rejoin_protocol::{ErrorCode, Exit, Role, SessionId, SessionStatus};
use tokio::{
    task::yield_now,
    time::{Instant, sleep},
};

use crate::{
    session::{contains, read_until, request, start},
    support::{connection, hub_with, identity},
};

const IDLE: Duration = Duration::from_secs(60);

/// A store that refuses commits while it is away.
#[derive(Debug, Default)]
pub(crate) struct UnreliableStore {
    store: MemoryStore,
    pub(crate) is_away: AtomicBool,
}

impl Store for UnreliableStore {
    fn load(&self) -> BoxFuture<'_, Result<Vec<SessionRow>, StoreError>> {
        self.store.load()
    }

    fn commit<'a>(&'a self, changes: &'a [Change]) -> BoxFuture<'a, Result<(), StoreError>> {
        if self.is_away.load(Ordering::SeqCst) {
            return Box::pin(async { Err(StoreError("away".to_owned())) });
        }
        self.store.commit(changes)
    }

    fn session<'a>(
        &'a self,
        id: &'a SessionId,
    ) -> BoxFuture<'a, Result<Option<SessionRow>, StoreError>> {
        self.store.session(id)
    }

    fn session_events<'a>(
        &'a self,
        id: &'a SessionId,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<SessionEvent>, StoreError>> {
        self.store.session_events(id, after, limit)
    }
}

#[tokio::test(start_paused = true)]
async fn an_attach_during_the_end_is_refused() {
    let (hub, mut programs, _shutdown) =
        hub_with(|config| config.sessions.idle_timeout = IdleTimeout::After(IDLE));
    let (session, mut program) = start(&hub, &mut programs).await;

    // A departure begins the time anew.
    sleep(IDLE / 2).await;
    let ann = connection("ann");
    let attach = || session.attach(&ann, request(Role::Writer, None));
    let attachment = attach().await.unwrap();
    assert_eq!(session.info().destroy_at, None);
    sleep(IDLE * 2).await;
    drop(attachment);
    let left = Instant::now();
    assert!(matches!(program.controls.recv().await, Some(Control::End)));
    assert!((IDLE..IDLE + Duration::from_secs(2)).contains(&left.elapsed()));

    assert_eq!(attach().await.unwrap_err().code, ErrorCode::SessionEnded);
    let exit = Exit { code: None, signal: Some("SIGHUP".to_owned()) };
    program.events.send(TerminalEvent::Exit(exit)).await.unwrap();
    read_until(&session, |frame| contains(frame, "terminated")).await;
    assert_eq!(session.info().reason.unwrap(), "no connection was attached for 60s");

    // The last screen may be attached to.
    assert!(attach().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_start_leaves_no_open_row() {
    let store = Arc::<UnreliableStore>::default();
    let (hub, mut programs, _shutdown) =
        hub_with(|config| config.store = Arc::clone(&store) as Arc<dyn Store>);
    let ann = identity("ann");
    let id = SessionId::new("s-1").unwrap();
    let create = CreateTerminal { id: Some(id.clone()), ..CreateTerminal::default() };
    let mut created = Box::pin(hub.create_terminal(&ann, create));
    assert!(poll!(&mut created).is_pending(), "the row is not durable");
    while store.store.session(&id).await.unwrap().is_none() {
        yield_now().await;
    }

    // The program runs, and its start waits for the store when the request is cancelled.
    store.is_away.store(true, Ordering::SeqCst);
    while programs.is_empty() {
        assert!(poll!(&mut created).is_pending());
        yield_now().await;
    }
    drop(created);
    programs.recv().await.unwrap().hung_up().await;

    store.is_away.store(false, Ordering::SeqCst);
    sleep(Duration::from_secs(6)).await;
    let row = store.store.session(&id).await.unwrap().unwrap();
    assert!(row.removed_at.is_some(), "{row:?}");
    assert_eq!(row.reason.as_deref(), Some("the request was cancelled"));
}

#[tokio::test(start_paused = true)]
async fn transitions_wait_in_order_for_a_store_that_is_away() {
    let store = Arc::<UnreliableStore>::default();
    let (hub, mut programs, _shutdown) =
        hub_with(|config| config.store = Arc::clone(&store) as Arc<dyn Store>);
    let (session, program) = start(&hub, &mut programs).await;

    store.is_away.store(true, Ordering::SeqCst);
    let ann = connection("ann");
    let attachment = session.attach(&ann, request(Role::Writer, None)).await.unwrap();
    program.events.send(TerminalEvent::Output("goes on".into())).await.unwrap();
    read_until(&session, |frame| frame.ends_with(b"goes on")).await;
    program.events.send(TerminalEvent::Exit(Exit::default())).await.unwrap();
    let late = session.input("x".into(), rejoin_core::Author::Server).await;
    assert_eq!(late.unwrap_err().code, ErrorCode::SessionEnded);
    drop(attachment);

    // A new session is refused in time, and nothing is started.
    let asked = Instant::now();
    let refused = hub.create_terminal(&identity("ann"), CreateTerminal::default()).await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::Overloaded);
    assert!(asked.elapsed() < Duration::from_secs(11));
    assert!(programs.try_recv().is_err());
    assert_eq!((session.info().status, session.info().exit), (SessionStatus::Idle, None));

    store.is_away.store(false, Ordering::SeqCst);
    // The most time between two attempts; the clock is paused.
    sleep(Duration::from_secs(6)).await;
    read_until(&session, |frame| contains(frame, "exit status is unknown")).await;
    assert_eq!(session.info().status, SessionStatus::Error);
    let history = hub.session_history(session.id(), &identity("ann"), 0, 10).await.unwrap();
    let events: Vec<_> = history.events.iter().map(|event| event.event).collect();
    let expected = [EventKind::Created, EventKind::Started, EventKind::Attached, EventKind::Ended];
    assert_eq!(events, expected);
}
