//! Event handlers that panic, call the hub, or are slow.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use rejoin_core::{EventHandler, Hub, HubEvent, Session, SessionHandler, TerminalEvent};
use rejoin_protocol::Exit;
use tokio::sync::Notify;

use crate::{
    events::{Recorder, hub, name, request, start},
    support::{connection, identity, register},
};

/// Panics at one event and records the others.
struct Panicking {
    at: &'static str,
    recorder: Arc<Recorder>,
}

impl EventHandler for Panicking {
    fn handle(&self, event: &HubEvent) {
        self.recorder.handle(event);
        assert_ne!(name(event).0, self.at, "the test wants a panic");
    }

    fn session_handler(&self, _session: &Session) -> Option<Arc<dyn SessionHandler>> {
        assert_ne!(self.at, "session_handler", "the test wants a panic");
        Some(Arc::new(PanickingSession))
    }
}

struct PanickingSession;

impl SessionHandler for PanickingSession {
    fn output(&self, _session: &Session, _bytes: &[u8]) {
        panic!("the test wants a panic");
    }

    fn exit(&self, _session: &Session, _exit: &Exit) {
        panic!("the test wants a panic");
    }

    fn last_left(&self, _session: &Session) {
        panic!("the test wants a panic");
    }
}

#[tokio::test]
async fn a_handler_that_panics_stops_nothing() {
    for at in ["connected", "session_started", "session_left", "disconnected", "session_handler"] {
        let recorder = Arc::new(Recorder::default());
        let panicking = Panicking { at, recorder: Arc::clone(&recorder) };
        let (hub, _handler, mut programs, _shutdown) = hub(panicking);
        let ann = connection("ann");
        let registration = register(&hub, &ann).unwrap();
        let session = start(&hub).await;
        let program = programs.recv().await.unwrap();
        drop(session.attach(&ann, request()).await.unwrap());
        program.events.send(TerminalEvent::Output("hello".into())).await.unwrap();
        program.events.send(TerminalEvent::Exit(Exit::default())).await.unwrap();
        recorder.until(|recorder| recorder.count("session_ended") == 1).await;
        assert_eq!(session.stream().head().offset, 5, "{at}");
        hub.close_session(&session).await;
        drop(registration);
        recorder.until(|recorder| recorder.count("user_offline") == 1).await;
        assert_eq!(recorder.names().len(), 8, "{at}: {:?}", recorder.names());
    }
}

/// Calls the hub from the handler.
struct Querying {
    hub: Mutex<Option<Hub>>,
    recorder: Arc<Recorder>,
}

impl EventHandler for Querying {
    fn handle(&self, event: &HubEvent) {
        let hub = self.hub.lock().clone().unwrap();
        let ann = identity("ann");
        let _ = (hub.sessions(&ann).len(), hub.connection_count(), hub.connections_of(&ann.user));
        let user = rejoin_protocol::Subject::User(ann.user.clone());
        hub.presence(&ann, &user).unwrap();
        match event {
            HubEvent::SessionStarted { session } => {
                let right = rejoin_core::SessionRight::Attach;
                assert!(
                    hub.session(session.id(), &ann, right).is_ok(),
                    "the session can be looked up"
                );
            }
            HubEvent::SessionLeft { session } => assert_eq!(session.info().connections, 0),
            HubEvent::SessionEnded { session } => assert!(session.info().exit.is_some()),
            HubEvent::Connected { .. } if hub.connection_count() < 3 => {
                // The events of this registration follow later.
                std::mem::forget(register(&hub, &connection("ann")).unwrap());
            }
            _ => {}
        }

        self.recorder.handle(event);
    }
}

#[tokio::test]
async fn a_handler_may_call_the_hub() {
    let recorder = Arc::new(Recorder::default());
    let querying = Querying { hub: Mutex::default(), recorder: Arc::clone(&recorder) };
    let (hub, querying, mut programs, _shutdown) = hub(querying);
    *querying.hub.lock() = Some(hub.clone());
    let ann = connection("ann");
    let _registration = register(&hub, &ann).unwrap();
    let session = start(&hub).await;
    let program = programs.recv().await.unwrap();
    drop(session.attach(&ann, request()).await.unwrap());
    program.events.send(TerminalEvent::Exit(Exit::default())).await.unwrap();
    recorder.until(|recorder| recorder.count("session_ended") == 1).await;

    assert_eq!(recorder.count("connected"), 3);
    assert_eq!(recorder.count("session_started") + recorder.count("session_left"), 2);
}

/// Blocks in the first event until it is released.
struct Slow {
    may_go: Mutex<bool>,
    released: Condvar,
    waits: Notify,
    recorder: Arc<Recorder>,
}

impl EventHandler for Slow {
    fn handle(&self, event: &HubEvent) {
        let mut may_go = self.may_go.lock();
        self.waits.notify_one();
        while !*may_go {
            self.released.wait(&mut may_go);
        }
        self.recorder.handle(event);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_handler_delays_nothing_and_misses_excess_events() {
    let recorder = Arc::new(Recorder::default());
    let slow = Slow {
        may_go: Mutex::default(),
        released: Condvar::new(),
        waits: Notify::new(),
        recorder: Arc::clone(&recorder),
    };

    let (hub, slow, _programs, _shutdown) = hub(slow);

    // The registration does not wait for the handler of its event.
    let bob = connection("bob");
    let bob = register(&hub, &bob).unwrap();
    slow.waits.notified().await;

    // Two events each: more than the queue holds.
    let ann = connection("ann");
    let _ann = register(&hub, &ann).unwrap();
    for _ in 0..40_000 {
        drop(register(&hub, &connection("ann")).unwrap());
    }

    *slow.may_go.lock() = true;
    slow.released.notify_all();
    drop(bob);
    let (waiting, all) = (65_536, 2 * 40_000 + 2);
    let is_full = |recorder: &Recorder| recorder.names().len() > waiting;
    recorder.until(is_full).await;
    let dropped = hub.metrics().events_dropped.get();

    assert!(dropped >= u64::try_from(all - waiting).unwrap(), "{dropped}");

    let names = recorder.names();

    assert_eq!(names[..4], ["connected", "user_online", "connected", "user_online"]);
}
