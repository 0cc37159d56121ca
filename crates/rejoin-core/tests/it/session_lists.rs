//! Session lists: each change once, and no removed sessions.

use std::time::Duration;

use rejoin_core::{AttachOptions, CreateTerminal, Hub, OutboxItem, Registration, Session};
use rejoin_protocol::{Role, SessionId, TerminalSize, TopicName};
use tokio::time::sleep;

use crate::{
    client::TestClient,
    support::{connection, hub, identity, register},
};

/// Longer than the interval of events.
const SOON: Duration = Duration::from_millis(250);

/// Registers a connection that subscribes to its user's list.
fn watch(hub: &Hub, user: &str) -> (TestClient, Registration) {
    let connection = connection(user);
    let registration = register(hub, &connection).unwrap();
    let topic = TopicName::new("@sessions").unwrap();
    let (start, subscription) = hub.subscribe(&connection, &topic, None).unwrap();
    let stream = subscription.expect("a list exists once it is subscribed to").stream().clone();
    let (preamble, reader) = (start.preamble, start.reader);
    connection.outbox().push(OutboxItem::StartReading { stream, preamble, reader, window: None });
    (TestClient::new(connection), registration)
}

/// Returns the received events, each with the session's status.
fn events(client: &mut TestClient) -> Vec<(String, String)> {
    let received = client.receive().into_iter().map(|message| {
        assert_eq!(message["payload"]["topic"], "@sessions");
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let payload = &message["payload"];
        (text(&payload["event"]), text(&payload["data"]["status"]))
    });

    received.collect()
}

fn pair(event: &str, status: &str) -> (String, String) {
    (event.to_owned(), status.to_owned())
}

async fn attach(session: &Session) -> rejoin_core::Attachment {
    let size = TerminalSize::new(100, 30);
    let request = AttachOptions {
        reply_to: None,
        position: None,
        role: Role::Writer,
        writer: None,
        size,
        window: None,
    };
    session.attach(&connection("ann"), request).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_list_receives_the_changes_of_its_users_sessions_only() {
    let (hub, mut programs, _shutdown) = hub();
    let (mut ann, _ann) = watch(&hub, "ann");
    let (mut bob, _bob) = watch(&hub, "bob");
    let session = hub.create_terminal(&identity("ann"), CreateTerminal::default()).await.unwrap();
    let program = programs.recv().await.unwrap();
    sleep(SOON).await;

    assert_eq!(events(&mut ann), [pair("created", "idle")]);

    // Many changes at once become few events.
    let attachments = [attach(&session).await, attach(&session).await];
    for rows in 1..=50 {
        attachments[0].resize(TerminalSize::new(50, rows).unwrap()).unwrap();
        tokio::task::yield_now().await;
    }

    sleep(SOON).await;
    let received = events(&mut ann);

    assert!(received.len() <= 2, "{received:?}");
    assert_eq!(received.last(), Some(&pair("changed", "active")));
    drop(program);
    hub.close_session(&session).await;
    sleep(SOON).await;
    let received = events(&mut ann);

    assert_eq!(received.last().unwrap().0, "removed");
    assert_eq!(received.iter().filter(|(event, _)| event == "removed").count(), 1);

    // A detach from a removed session adds it to no list.
    drop(attachments);
    sleep(SOON).await;
    assert_eq!(events(&mut ann), []);
    assert_eq!(events(&mut bob), []);
}

#[tokio::test(start_paused = true)]
async fn a_new_session_is_announced_as_created_despite_changes() {
    let (hub, mut programs, _shutdown) = hub();
    let (mut ann, _ann) = watch(&hub, "ann");
    let identity = identity("ann");
    let create = || hub.create_terminal(&identity, CreateTerminal::default());
    let _first = create().await.unwrap();

    // The event of the first session was just published, so later changes wait for the interval.
    tokio::task::yield_now().await;
    let second = create().await.unwrap();
    let _attachment = attach(&second).await;
    let _programs = [programs.recv().await.unwrap(), programs.recv().await.unwrap()];
    sleep(SOON).await;

    assert_eq!(events(&mut ann), [pair("created", "idle"), pair("created", "active")]);
}

#[tokio::test(start_paused = true)]
async fn a_session_with_a_reused_id_is_announced_as_created() {
    let (hub, mut programs, _shutdown) = hub();
    let (mut ann, _ann) = watch(&hub, "ann");
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
    events(&mut ann);
    hub.close_session(&first).await;
    let second = create().await;

    // A second close of the first session does not close the second one.
    hub.close_session(&first).await;
    drop(attachment);
    sleep(SOON).await;
    let received = events(&mut ann);

    assert_eq!(received.last(), Some(&pair("created", "idle")), "{received:?}");
    assert_eq!(hub.sessions(&identity("ann")).len(), 1);
    assert!(!second.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_close_continues_when_its_caller_is_dropped() {
    let (hub, mut programs, _shutdown) = hub();
    let (mut ann, _ann) = watch(&hub, "ann");
    let session = hub.create_terminal(&identity("ann"), CreateTerminal::default()).await.unwrap();
    let program = programs.recv().await.unwrap();

    // The caller is dropped before the program ends.
    assert!(tokio::time::timeout(SOON, hub.close_session(&session)).await.is_err());
    assert_eq!(hub.sessions(&identity("ann")).len(), 1, "its program still runs");
    drop(program);
    sleep(SOON).await;
    assert!(hub.sessions(&identity("ann")).is_empty());
    assert_eq!(events(&mut ann).last().unwrap().0, "removed");
}
