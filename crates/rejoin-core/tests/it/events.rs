//! What an embedding program hears of the hub: each event once, in its order.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex};
use rejoin_core::{
    AttachRequest, CreateTerminal, EventHandler, Hub, HubConfig, HubEvent, MemoryScreens,
    MemoryTerminal, MemoryTerminals, Profile, Session, SessionHandler, Shutdown, TerminalEvent,
};
use rejoin_protocol::{Exit, ProfileName, Role};
use tokio::{sync::Barrier, sync::Notify, sync::mpsc};

use crate::support::{connection, encode, identity, join};

/// What was heard, and what is to happen then.
#[derive(Default)]
struct Heard {
    events: Mutex<Vec<(&'static str, String)>>,
    more: Notify,
    /// What sessions print.
    output: Arc<Mutex<Vec<u8>>>,
}

impl Heard {
    fn names(&self) -> Vec<&'static str> {
        self.events.lock().iter().map(|(name, _)| *name).collect()
    }

    fn count(&self, name: &str) -> usize {
        self.events.lock().iter().filter(|(heard, _)| *heard == name).count()
    }

    /// Waits until something is true of what was heard.
    async fn until(&self, is_enough: impl Fn(&Self) -> bool) {
        loop {
            let more = self.more.notified();
            if is_enough(self) {
                return;
            }
            more.await;
        }
    }
}

fn name(event: &HubEvent) -> (&'static str, String) {
    match event {
        HubEvent::Connected { connection } => ("connected", connection.id().to_string()),
        HubEvent::Disconnected { connection } => ("disconnected", connection.id().to_string()),
        HubEvent::UserOnline { user } => ("user_came", user.to_string()),
        HubEvent::UserOffline { user } => ("user_gone", user.to_string()),
        HubEvent::SessionStarted { session } => ("session_started", session.id().to_string()),
        HubEvent::SessionLeft { session } => ("session_left", session.id().to_string()),
        HubEvent::SessionEnded { session } => ("session_ended", session.id().to_string()),
        HubEvent::SessionRemoved { session } => ("session_removed", session.id().to_string()),
        _ => panic!("an event that this test does not know"),
    }
}

impl EventHandler for Heard {
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

/// A hub whose users are gone as soon as they have left, and who hears of it.
fn hub<H: EventHandler + 'static>(
    handler: H,
) -> (Hub, Arc<H>, mpsc::Receiver<MemoryTerminal>, Shutdown) {
    let terminals = MemoryTerminals::new();
    let programs = terminals.started().unwrap();
    let shutdown = Shutdown::new();
    let profile =
        Profile { command: vec!["program".into()], cwd: None, env: Vec::new(), install_hint: None };
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

fn request() -> AttachRequest {
    AttachRequest { reply_to: None, position: None, role: Role::Writer, writer: None, size: None }
}

async fn start(hub: &Hub) -> Session {
    hub.create_terminal(&identity("ann"), CreateTerminal::default()).await.unwrap()
}

#[tokio::test]
async fn events_are_told_in_the_order_in_which_things_happen() {
    let (hub, heard, mut programs, _shutdown) = hub(Heard::default());
    let ann = connection("ann");
    let membership = join(&hub, &ann).unwrap();
    let session = start(&hub).await;
    let program = programs.recv().await.unwrap();
    let attachment = session.attach(&ann, request()).await.unwrap();
    drop(attachment);
    program.events.send(TerminalEvent::Exit(Exit { code: Some(0), signal: None })).await.unwrap();
    heard.until(|heard| heard.count("session_ended") == 1).await;
    hub.close_session(&session).await;
    drop(membership);
    heard.until(|heard| heard.count("user_gone") == 1).await;
    assert_eq!(
        heard.names(),
        [
            "connected",
            "user_came",
            "session_started",
            "session_left",
            "session_ended",
            "session_removed",
            "disconnected",
            "user_gone"
        ]
    );
}

#[tokio::test]
async fn a_second_handler_is_noticed() {
    let (hub, _heard, _programs, _shutdown) = hub(Heard::default());
    let error = hub.set_handler(Arc::new(Heard::default())).unwrap_err();
    assert_eq!(error.to_string(), "there is a handler of the hub's events already");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_200_connections_that_race_each_is_told_once_and_users_alternate() {
    let (hub, heard, _programs, shutdown) = hub(Heard::default());
    let start = Arc::new(Barrier::new(200));
    let racers: Vec<_> = (0..200)
        .map(|number| {
            let (hub, start) = (hub.clone(), Arc::clone(&start));
            shutdown.spawn(async move {
                start.wait().await;
                for _ in 0..20 {
                    let connection = connection(&format!("user{}", number % 67));
                    let membership = join(&hub, &connection).unwrap();
                    tokio::task::yield_now().await;
                    drop(membership);
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for racer in racers {
        racer.await.unwrap();
    }
    let is_balanced = |heard: &Heard| {
        heard.count("disconnected") == 4000 && heard.count("user_came") == heard.count("user_gone")
    };
    heard.until(is_balanced).await;
    let mut there: HashMap<String, &str> = HashMap::new();
    for (name, who) in heard.events.lock().iter() {
        let before = there.insert(who.clone(), name);
        let expected = match *name {
            "connected" => before.is_none(),
            "disconnected" => before == Some("connected"),
            "user_came" => before != Some("user_came"),
            "user_gone" => before == Some("user_came"),
            _ => false,
        };
        assert!(expected, "{name} of {who} after {before:?}");
    }
    assert_eq!(heard.count("connected"), 4000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_last_connection_leaves_once_however_many_leave_together() {
    let (hub, heard, _programs, shutdown) = hub(Heard::default());
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
        heard.until(|heard| heard.count("session_left") >= round).await;
        assert_eq!(heard.count("session_left"), round);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_session_is_told_to_have_started_before_all_else_of_it() {
    let (hub, heard, mut programs, shutdown) = hub(Heard::default());
    // Programs that end at once.
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
    heard.until(|heard| heard.count("session_removed") == 100).await;
    let names = heard.names();
    for events in names.chunks(3) {
        assert_eq!(events, ["session_started", "session_ended", "session_removed"]);
    }
}

#[tokio::test]
async fn a_session_handler_of_the_hub_hears_the_first_byte() {
    let (hub, heard, mut programs, _shutdown) = hub(Heard::default());
    let play = async {
        let program = programs.recv().await.unwrap();
        program.events.send(TerminalEvent::Output("first".into())).await.unwrap();
        program.events.send(TerminalEvent::Exit(Exit::default())).await.unwrap();
    };
    let (session, ()) = tokio::join!(start(&hub), play);
    heard.until(|heard| heard.count("session_ended") == 1).await;
    assert_eq!(*heard.output.lock(), b"first");
    let late = session.set_handler(Arc::new(Output(Arc::default())));
    assert!(late.is_err(), "there is one handler of a session");
}

/// Panics at whatever is named, and hears the rest.
struct Panicky {
    at: &'static str,
    heard: Arc<Heard>,
}

impl EventHandler for Panicky {
    fn handle(&self, event: &HubEvent) {
        self.heard.handle(event);
        assert_ne!(name(event).0, self.at, "as the test wants it");
    }

    fn session_handler(&self, _session: &Session) -> Option<Arc<dyn SessionHandler>> {
        assert_ne!(self.at, "session_handler", "as the test wants it");
        Some(Arc::new(Explosive))
    }
}

struct Explosive;

impl SessionHandler for Explosive {
    fn output(&self, _session: &Session, _bytes: &[u8]) {
        panic!("as the test wants it");
    }

    fn exit(&self, _session: &Session, _exit: &Exit) {
        panic!("as the test wants it");
    }

    fn last_left(&self, _session: &Session) {
        panic!("as the test wants it");
    }
}

#[tokio::test]
async fn a_handler_that_panics_stops_nothing() {
    for at in ["connected", "session_started", "session_left", "disconnected", "session_handler"] {
        let heard = Arc::new(Heard::default());
        let panicky = Panicky { at, heard: Arc::clone(&heard) };
        let (hub, _panicky, mut programs, _shutdown) = hub(panicky);
        let ann = connection("ann");
        let membership = join(&hub, &ann).unwrap();
        let session = start(&hub).await;
        let program = programs.recv().await.unwrap();
        drop(session.attach(&ann, request()).await.unwrap());
        program.events.send(TerminalEvent::Output("hello".into())).await.unwrap();
        program.events.send(TerminalEvent::Exit(Exit::default())).await.unwrap();
        heard.until(|heard| heard.count("session_ended") == 1).await;
        assert_eq!(session.stream().head().offset, 5, "{at}");
        hub.close_session(&session).await;
        drop(membership);
        heard.until(|heard| heard.count("user_gone") == 1).await;
        assert_eq!(heard.names().len(), 8, "{at}: {:?}", heard.names());
    }
}

/// Asks the hub for whatever can be asked, while it is told.
struct Curious {
    hub: Mutex<Option<Hub>>,
    heard: Arc<Heard>,
}

impl EventHandler for Curious {
    fn handle(&self, event: &HubEvent) {
        let hub = self.hub.lock().clone().unwrap();
        let ann = identity("ann");
        let _ = (hub.sessions(&ann).len(), hub.connection_count(), hub.connections_of(&ann.user));
        let user = rejoin_protocol::Subject::User(ann.user.clone());
        hub.presence(&ann, &user).unwrap();
        match event {
            HubEvent::SessionStarted { session } => {
                let right = rejoin_core::SessionRight::Attach;
                assert!(hub.session(session.id(), &ann, right).is_ok(), "it can be looked up");
            }
            HubEvent::SessionLeft { session } => assert_eq!(session.info().connections, 0),
            HubEvent::SessionEnded { session } => assert!(session.info().exit.is_some()),
            HubEvent::Connected { .. } if hub.connection_count() < 3 => {
                // What it causes itself is told after this.
                std::mem::forget(join(&hub, &connection("ann")).unwrap());
            }
            _ => {}
        }
        self.heard.handle(event);
    }
}

#[tokio::test]
async fn a_handler_may_use_the_hub_because_no_lock_is_held() {
    let heard = Arc::new(Heard::default());
    let curious = Curious { hub: Mutex::default(), heard: Arc::clone(&heard) };
    let (hub, curious, mut programs, _shutdown) = hub(curious);
    *curious.hub.lock() = Some(hub.clone());
    let ann = connection("ann");
    let _membership = join(&hub, &ann).unwrap();
    let session = start(&hub).await;
    let program = programs.recv().await.unwrap();
    drop(session.attach(&ann, request()).await.unwrap());
    program.events.send(TerminalEvent::Exit(Exit::default())).await.unwrap();
    heard.until(|heard| heard.count("session_ended") == 1).await;
    assert_eq!(heard.count("connected"), 3);
    assert_eq!(heard.count("session_started") + heard.count("session_left"), 2);
}

/// Waits in the first event until it may go on.
struct Slow {
    may_go: Mutex<bool>,
    told: Condvar,
    waits: Notify,
    heard: Arc<Heard>,
}

impl EventHandler for Slow {
    fn handle(&self, event: &HubEvent) {
        let mut may_go = self.may_go.lock();
        self.waits.notify_one();
        while !*may_go {
            self.told.wait(&mut may_go);
        }
        self.heard.handle(event);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_handler_holds_up_nobody_else_and_misses_what_exceeds_the_bound() {
    let heard = Arc::new(Heard::default());
    let slow = Slow {
        may_go: Mutex::default(),
        told: Condvar::new(),
        waits: Notify::new(),
        heard: Arc::clone(&heard),
    };
    let (hub, slow, _programs, _shutdown) = hub(slow);
    // The connection that caused the event does not wait for the handler.
    let bob = connection("bob");
    let bob = join(&hub, &bob).unwrap();
    slow.waits.notified().await;
    // Three events each: more than may wait.
    let ann = connection("ann");
    let _ann = join(&hub, &ann).unwrap();
    for _ in 0..40_000 {
        drop(join(&hub, &connection("ann")).unwrap());
    }
    *slow.may_go.lock() = true;
    slow.told.notify_all();
    drop(bob);
    let (waiting, all) = (65_536, 2 * 40_000 + 2);
    let told = |heard: &Heard| heard.names().len() > waiting;
    heard.until(told).await;
    let dropped = hub.metrics().events_dropped.get();
    assert!(dropped >= u64::try_from(all - waiting).unwrap(), "{dropped}");
    let names = heard.names();
    assert_eq!(names[..4], ["connected", "user_came", "connected", "user_came"]);
}
