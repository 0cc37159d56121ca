//! Lists of sessions: their owner's devices hear what changes, once, and never of ghosts.

use std::time::Duration;

use rejoin_core::{AttachRequest, CreateTerminal, Hub, OutboxItem, Registration, Session};
use rejoin_protocol::{Role, SessionId, TerminalSize, TopicName};
use tokio::time::sleep;

use crate::{
    listener::Listener,
    support::{connection, hub, identity, join},
};

/// Longer than changes are held together.
const SOON: Duration = Duration::from_millis(250);

/// Who looks at a user's list.
fn look(hub: &Hub, user: &str) -> (Listener, Registration) {
    let connection = connection(user);
    let membership = join(hub, &connection).unwrap();
    let topic = TopicName::new("@sessions").unwrap();
    let (start, subscription) = hub.subscribe(&connection, &topic, None).unwrap();
    let stream = subscription.expect("it is there").stream().clone();
    let (preamble, reader) = (start.preamble, start.reader);
    connection.outbox().push(OutboxItem::StartReading { stream, preamble, reader });
    (Listener::new(connection), membership)
}

/// What was told: the event, and the status that goes with it.
fn heard(listener: &mut Listener) -> Vec<(String, String)> {
    let told = listener.hear().into_iter().map(|message| {
        assert_eq!(message["payload"]["topic"], "@sessions");
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let payload = &message["payload"];
        (text(&payload["event"]), text(&payload["data"]["status"]))
    });
    told.collect()
}

fn pair(event: &str, status: &str) -> (String, String) {
    (event.to_owned(), status.to_owned())
}

async fn attach(session: &Session) -> rejoin_core::Attachment {
    let size = TerminalSize::new(100, 30);
    let request =
        AttachRequest { reply_to: None, position: None, role: Role::Writer, writer: None, size };
    session.attach(&connection("ann"), request).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn who_looks_at_the_list_hears_of_each_session_of_the_user_and_of_no_other() {
    let (hub, mut programs, _shutdown) = hub();
    let (mut ann, _ann) = look(&hub, "ann");
    let (mut bob, _bob) = look(&hub, "bob");
    let session = hub.create_terminal(&identity("ann"), CreateTerminal::default()).await.unwrap();
    let program = programs.recv().await.unwrap();
    sleep(SOON).await;
    assert_eq!(heard(&mut ann), [pair("created", "idle")]);
    // Many changes at once are few messages.
    let attachments = [attach(&session).await, attach(&session).await];
    for rows in 1..=50 {
        attachments[0].resize(TerminalSize::new(50, rows).unwrap()).unwrap();
        tokio::task::yield_now().await;
    }
    sleep(SOON).await;
    let told = heard(&mut ann);
    assert!(told.len() <= 2, "{told:?}");
    assert_eq!(told.last(), Some(&pair("changed", "active")));
    drop(program);
    hub.close_session(&session).await;
    sleep(SOON).await;
    let told = heard(&mut ann);
    assert_eq!(told.last().unwrap().0, "removed");
    assert_eq!(told.iter().filter(|(event, _)| event == "removed").count(), 1);
    // Who leaves a session that is gone puts it on no list again.
    drop(attachments);
    sleep(SOON).await;
    assert_eq!(heard(&mut ann), []);
    assert_eq!(heard(&mut bob), []);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_changes_at_once_is_told_of_as_created() {
    let (hub, mut programs, _shutdown) = hub();
    let (mut ann, _ann) = look(&hub, "ann");
    let identity = identity("ann");
    let create = || hub.create_terminal(&identity, CreateTerminal::default());
    let _first = create().await.unwrap();
    // What changes now is held together: the first was told just before.
    tokio::task::yield_now().await;
    let second = create().await.unwrap();
    let _attachment = attach(&second).await;
    let _programs = [programs.recv().await.unwrap(), programs.recv().await.unwrap()];
    sleep(SOON).await;
    assert_eq!(heard(&mut ann), [pair("created", "idle"), pair("created", "active")]);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_takes_the_id_of_one_that_was_closed_is_told_of_as_created() {
    let (hub, mut programs, _shutdown) = hub();
    let (mut ann, _ann) = look(&hub, "ann");
    let create = || {
        let id = Some(SessionId::new("mine").unwrap());
        let create = CreateTerminal { id, ..CreateTerminal::default() };
        let hub = hub.clone();
        async move { hub.create_terminal(&identity("ann"), create).await.unwrap() }
    };
    let first = create().await;
    drop(programs.recv().await.unwrap());
    let attachment = attach(&first).await;
    sleep(SOON).await;
    heard(&mut ann);
    hub.close_session(&first).await;
    let second = create().await;
    // To close the first again does not close the second.
    hub.close_session(&first).await;
    drop(attachment);
    sleep(SOON).await;
    let told = heard(&mut ann);
    assert_eq!(told.last(), Some(&pair("created", "idle")), "{told:?}");
    assert_eq!(hub.sessions(&identity("ann")).len(), 1);
    assert!(!second.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_close_whose_caller_goes_away_is_finished_all_the_same() {
    let (hub, mut programs, _shutdown) = hub();
    let (mut ann, _ann) = look(&hub, "ann");
    let session = hub.create_terminal(&identity("ann"), CreateTerminal::default()).await.unwrap();
    let program = programs.recv().await.unwrap();
    // The program does not end at once, and the caller does not wait.
    assert!(tokio::time::timeout(SOON, hub.close_session(&session)).await.is_err());
    assert_eq!(hub.sessions(&identity("ann")).len(), 1, "its program is there");
    drop(program);
    sleep(SOON).await;
    assert!(hub.sessions(&identity("ann")).is_empty());
    assert_eq!(heard(&mut ann).last().unwrap().0, "removed");
}
