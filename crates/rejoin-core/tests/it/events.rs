//! Events for the embedding program: each one once, in order.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rejoin_core::{
    AttachOptions, CreateTerminal, EventHandler, Hub, HubConfig, HubEvent, MemoryScreens,
    MemoryTerminal, MemoryTerminals, Profile, Session, SessionHandler, Shutdown, TerminalEvent,
};
use rejoin_protocol::{Exit, ProfileName, Role};
use tokio::sync::{Barrier, Notify, mpsc};

use crate::support::{connection, encode, identity, register};

/// Records events and the output of sessions.
#[derive(Default)]
pub(crate) struct Recorder {
    events: Mutex<Vec<(&'static str, String)>>,
    more: Notify,
    /// The output of all sessions.
    output: Arc<Mutex<Vec<u8>>>,
}

impl Recorder {
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.events.lock().iter().map(|(name, _)| *name).collect()
    }

    pub(crate) fn count(&self, name: &str) -> usize {
        self.events.lock().iter().filter(|(recorded, _)| *recorded == name).count()
    }

    /// Waits until a condition holds.
    pub(crate) async fn until(&self, is_enough: impl Fn(&Self) -> bool) {
        loop {
            let more = self.more.notified();
            if is_enough(self) {
                return;
            }
            more.await;
        }
    }
}

pub(crate) fn name(event: &HubEvent) -> (&'static str, String) {
    match event {
        HubEvent::Connected { connection } => ("connected", connection.id().to_string()),
        HubEvent::Disconnected { connection } => ("disconnected", connection.id().to_string()),
        HubEvent::UserOnline { user } => ("user_online", user.to_string()),
        HubEvent::UserOffline { user } => ("user_offline", user.to_string()),
        HubEvent::SessionStarted { session } => ("session_started", session.id().to_string()),
        HubEvent::SessionLeft { session } => ("session_left", session.id().to_string()),
        HubEvent::SessionEnded { session } => ("session_ended", session.id().to_string()),
        HubEvent::SessionRemoved { session } => ("session_removed", session.id().to_string()),
        _ => panic!("an event that this test does not know"),
    }
}

impl EventHandler for Recorder {
    fn handle(&self, event: &HubEvent) {
        self.events.lock().push(name(event));
        self.more.notify_one();
    }

    fn session_handler(&self, _session: &Session) -> Option<Arc<dyn SessionHandler>> {
        Some(Arc::new(Output(Arc::clone(&self.output))))
    }
}

struct Output(Arc<Mutex<Vec<u8>>>);

impl SessionHandler for Output {
    fn output(&self, _session: &Session, bytes: &[u8]) {
        self.0.lock().extend_from_slice(bytes);
    }
}

/// Creates a hub without a grace period, with an event handler.
pub(crate) fn hub<H: EventHandler + 'static>(
    handler: H,
) -> (Hub, Arc<H>, mpsc::Receiver<MemoryTerminal>, Shutdown) {
    let terminals = MemoryTerminals::new();
    let programs = terminals.started().unwrap();
    let shutdown = Shutdown::new();
    let profile = Profile { command: vec!["program".into()], ..Profile::default() };
    let config = HubConfig {
        profiles: [(ProfileName::new("terminal").unwrap(), profile)].into(),
        presence_grace: Duration::ZERO,
        ..HubConfig::new(encode, terminals, Arc::new(MemoryScreens))
    };

    let hub = Hub::new(config, &shutdown);
    let handler = Arc::new(handler);
    hub.set_handler(Arc::clone(&handler) as Arc<dyn EventHandler>).unwrap();
    (hub, handler, programs, shutdown)
}

pub(crate) fn request() -> AttachOptions {
    AttachOptions {
        reply_to: None,
        position: None,
        role: Role::Writer,
        writer: None,
        size: None,
        window: None,
    }
}

pub(crate) async fn start(hub: &Hub) -> Session {
    hub.create_terminal(&identity("ann"), CreateTerminal::default()).await.unwrap()
}

#[tokio::test]
async fn events_arrive_in_the_order_of_their_causes() {
    let (hub, recorder, mut programs, _shutdown) = hub(Recorder::default());
    let ann = connection("ann");
    let registration = register(&hub, &ann).unwrap();
    let session = start(&hub).await;
    let program = programs.recv().await.unwrap();
    let attachment = session.attach(&ann, request()).await.unwrap();
    drop(attachment);
    program.events.send(TerminalEvent::Exit(Exit { code: Some(0), signal: None })).await.unwrap();
    recorder.until(|recorder| recorder.count("session_ended") == 1).await;
    hub.close_session(&session).await;
    drop(registration);
    recorder.until(|recorder| recorder.count("user_offline") == 1).await;

    assert_eq!(
        recorder.names(),
        [
            "connected",
            "user_online",
            "session_started",
            "session_left",
            "session_ended",
            "session_removed",
            "disconnected",
            "user_offline"
        ]
    );
}

#[tokio::test]
async fn a_second_event_handler_is_refused() {
    let (hub, _recorder, _programs, _shutdown) = hub(Recorder::default());
    let error = hub.set_handler(Arc::new(Recorder::default())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the hub already has an event handler; a hub has one for its whole life"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_connections_produce_one_event_each_and_alternating_users() {
    let (hub, recorder, _programs, shutdown) = hub(Recorder::default());
    let start = Arc::new(Barrier::new(200));
    let racers: Vec<_> = (0..200)
        .map(|number| {
            let (hub, start) = (hub.clone(), Arc::clone(&start));
            shutdown.spawn(async move {
                start.wait().await;
                for _ in 0..20 {
                    let connection = connection(&format!("user{}", number % 67));
                    let registration = register(&hub, &connection).unwrap();
                    tokio::task::yield_now().await;
                    drop(registration);
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for racer in racers {
        racer.await.unwrap();
    }

    let is_balanced = |recorder: &Recorder| {
        recorder.count("disconnected") == 4000
            && recorder.count("user_online") == recorder.count("user_offline")
    };

    recorder.until(is_balanced).await;
    let mut there: HashMap<String, &str> = HashMap::new();
    for (name, id) in recorder.events.lock().iter() {
        let before = there.insert(id.clone(), name);
        let expected = match *name {
            "connected" => before.is_none(),
            "disconnected" => before == Some("connected"),
            "user_online" => before != Some("user_online"),
            "user_offline" => before == Some("user_online"),
            _ => false,
        };
        assert!(expected, "{name} of {id} after {before:?}");
    }

    assert_eq!(recorder.count("connected"), 4000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_last_connection_leaves_once_when_many_leave_together() {
    let (hub, recorder, _programs, shutdown) = hub(Recorder::default());
    let session = start(&hub).await;
    for round in 1..=50 {
        let together = Arc::new(Barrier::new(8));
        let leavers: Vec<_> = (0..8)
            .map(|_| {
                let (session, together) = (session.clone(), Arc::clone(&together));
                shutdown.spawn(async move {
                    let connection = connection("ann");
                    let attachment = session.attach(&connection, request()).await.unwrap();
                    together.wait().await;
                    drop(attachment);
                })
            })
            .collect();
        for leaver in leavers {
            leaver.await.unwrap();
        }
        recorder.until(|recorder| recorder.count("session_left") >= round).await;
        assert_eq!(recorder.count("session_left"), round);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn session_started_is_the_first_event_of_a_session() {
    let (hub, recorder, mut programs, shutdown) = hub(Recorder::default());

    // Each program ends at once.
    let player = shutdown.spawn(async move {
        for _ in 0..100 {
            let program = programs.recv().await.unwrap();
            program.events.send(TerminalEvent::Exit(Exit::default())).await.unwrap();
        }
    });

    for _ in 0..100 {
        let session = start(&hub).await;
        hub.close_session(&session).await;
    }

    player.await.unwrap();
    recorder.until(|recorder| recorder.count("session_removed") == 100).await;
    let names = recorder.names();
    for events in names.chunks(3) {
        assert_eq!(events, ["session_started", "session_ended", "session_removed"]);
    }
}

#[tokio::test]
async fn a_session_handler_gets_the_first_byte() {
    let (hub, recorder, mut programs, _shutdown) = hub(Recorder::default());
    let play = async {
        let program = programs.recv().await.unwrap();
        program.events.send(TerminalEvent::Output("first".into())).await.unwrap();
        program.events.send(TerminalEvent::Exit(Exit::default())).await.unwrap();
    };

    let (session, ()) = tokio::join!(start(&hub), play);
    recorder.until(|recorder| recorder.count("session_ended") == 1).await;

    assert_eq!(*recorder.output.lock(), b"first");

    let late = session.set_handler(Arc::new(Output(Arc::default())));

    assert!(late.is_err(), "a session has one handler");
}
