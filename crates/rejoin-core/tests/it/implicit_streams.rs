//! Implicit streams: each event for a user, a device or everyone arrives exactly once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};

use proptest::prelude::*;
use rejoin_core::{Durability, Hub, Journal, Registration};
use rejoin_protocol::{
    DeviceId, Position, UserId, Verdict,
    message::{ImplicitPositions, ImplicitStreamStarts, MessageBody},
};
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep};

use crate::{
    client::TestClient,
    support::{connection_from, hub, hub_with, paused, register},
    timed_journal::TimedJournal,
};

/// The clients of the test: user and device.
const CLIENTS: [(&str, Option<&str>); 4] =
    [("ann", Some("phone")), ("ann", Some("laptop")), ("bob", Some("phone")), ("bob", None)];
const HOUR: Duration = Duration::from_secs(3600);
/// The retention of an implicit stream.
const KEPT: Duration = Duration::from_secs(300);

#[derive(Clone, Debug)]
enum Step {
    Emit {
        to: usize,
    },
    Connect {
        client: usize,
    },
    Disconnect {
        client: usize,
        has_read: bool,
    },
    Read {
        client: usize,
    },
    Wait {
        seconds: u64,
    },
    /// The next process, after a clean stop or a crash.
    Restart {
        is_clean: bool,
    },
}

/// Starts a hub with durable events, which continues what the journal has.
async fn start(journal: &Arc<TimedJournal>) -> Hub {
    let (hub, _programs, _shutdown) = hub_with(|config| {
        config.journal = Arc::clone(journal) as Arc<dyn Journal>;
        config.emit_durability = Durability::Journal;
    });
    hub.recover(Duration::from_secs(10)).await.unwrap();
    hub
}

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..CLIENTS.len();
    prop_oneof![
        6 => (0..6usize).prop_map(|to| Step::Emit { to }),
        4 => client().prop_map(|client| Step::Connect { client }),
        3 => (client(), any::<bool>())
            .prop_map(|(client, has_read)| Step::Disconnect { client, has_read }),
        2 => client().prop_map(|client| Step::Read { client }),
        1 => any::<bool>().prop_map(|is_clean| Step::Restart { is_clean }),
        2 => prop_oneof![0..30u64, 100..400u64, 3000..5000u64]
            .prop_map(|seconds| Step::Wait { seconds }),
    ]
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn raw(number: u64) -> Box<RawValue> {
    RawValue::from_string(number.to_string()).unwrap()
}

/// Returns the name of the stream that a client reads as `topic`.
fn stream_of(topic: &str, client: usize) -> Option<String> {
    let (user, device) = CLIENTS[client];
    match topic {
        "@all" => Some("all".into()),
        "@user" => Some(user.into()),
        _ => Some(format!("{user}/{}", device?)),
    }
}

/// Emits to one of six streams, and returns its name.
async fn emit(hub: &Hub, to: usize, number: u64) -> String {
    let data = raw(number);
    let event = MessageBody { name: None, data: &data };
    let (name, device) = match to {
        0 => {
            hub.broadcast(event).await.unwrap();
            return "all".into();
        }
        1 => ("ann", None),
        2 => ("bob", None),
        3 => ("ann", Some("phone")),
        4 => ("ann", Some("laptop")),
        _ => ("bob", Some("phone")),
    };

    let Some(device) = device else {
        hub.emit_to_user(&user(name), event).await.unwrap();
        return name.into();
    };

    hub.emit_to_device(&user(name), &DeviceId::new(device).unwrap(), event).await.unwrap();
    format!("{name}/{device}")
}

/// The state of one client in one of its streams.
#[derive(Clone, Copy, Debug)]
struct Known {
    position: Position,
    /// The number of the stream's messages before the position.
    seen: usize,
    /// A gap was reported: messages may be missing before the next one.
    has_gap: bool,
    since: Instant,
}

#[derive(Default)]
struct Client {
    known: BTreeMap<&'static str, Known>,
    registration: Option<(TestClient, Registration)>,
}

type Log = BTreeMap<String, Vec<u64>>;

impl Client {
    fn connect(&mut self, hub: &Hub, number: usize, log: &Log) {
        let (user, device) = CLIENTS[number];
        let connection = connection_from(user, device);
        let position = |topic| self.known.get(topic).map(|known| known.position);
        let positions = ImplicitPositions {
            all: position("@all"),
            user: position("@user"),
            device: position("@device"),
        };

        let mut received: Option<ImplicitStreamStarts> = None;
        let registration =
            hub.register(connection.clone(), &positions, |streams| received = Some(streams));
        let ImplicitStreamStarts { all, user, device } =
            received.expect("a registration calls `welcome`");
        let starts = [("@all", Some(all)), ("@user", Some(user)), ("@device", device)];
        for (topic, start) in starts {
            let Some(start) = start else { continue };
            let emitted = log.get(&stream_of(topic, number).unwrap()).map_or(0, Vec::len);
            let now = Instant::now();
            let known = self.known.entry(topic).or_insert(Known {
                position: start.position,
                seen: emitted,
                has_gap: false,
                since: now,
            });
            match start.verdict {
                Verdict::Fresh => assert_eq!(known.since, now, "only a new client starts fresh"),
                Verdict::Resumed => {}
                Verdict::Gap => {
                    let away = now - known.since;
                    assert!(away >= KEPT, "{topic} is kept for longer than {away:?}");
                    assert!(away >= HOUR || emitted > known.seen, "nothing was missed");
                    known.has_gap = true;
                }
                Verdict::Snapshot => panic!("implicit streams have no snapshots"),
            }
            known.position = start.position;
            if known.seen == emitted {
                known.since = now;
            }
        }

        self.registration = Some((TestClient::new(connection), registration.unwrap()));
    }

    fn read(&mut self, number: usize, log: &Log) {
        let Some((client, _)) = &mut self.registration else { return };
        for message in client.receive() {
            let payload = &message["payload"];
            let topic = ["@all", "@user", "@device"].into_iter().find(|t| payload["topic"] == *t);
            let topic = topic.unwrap();
            let known = self.known.get_mut(topic).unwrap();
            let emitted = &log[&stream_of(topic, number).unwrap()];
            let number = payload["data"].as_u64().unwrap();
            let place = emitted.iter().position(|emitted| *emitted == number).unwrap();
            let is_next = place == known.seen || (known.has_gap && place > known.seen);
            assert!(is_next, "{topic}: {number} is at {place}, not at {}", known.seen);
            let position = payload["position"].as_str().unwrap().parse().unwrap();
            *known = Known { position, seen: place + 1, has_gap: false, since: Instant::now() };
        }

        for (topic, known) in &mut self.known {
            // A client that has read all has missed nothing, or a gap was reported.
            let emitted = log.get(&stream_of(topic, number).unwrap()).map_or(0, Vec::len);
            assert!(known.seen == emitted || known.has_gap, "{topic} lost something");
            known.seen = emitted;
        }
    }
}

async fn run(steps: Vec<Step>) {
    let mut journal = TimedJournal::new();
    let mut hub = start(&journal).await;
    let mut clients: [Client; CLIENTS.len()] = Default::default();
    let (mut log, mut number) = (Log::new(), 0);
    for step in steps {
        match step {
            Step::Emit { to } => {
                number += 1;
                let stream = emit(&hub, to, number).await;
                log.entry(stream).or_default().push(number);
            }
            Step::Connect { client } if clients[client].registration.is_none() => {
                clients[client].connect(&hub, client, &log);
            }
            Step::Disconnect { client, has_read } => {
                if has_read {
                    clients[client].read(client, &log);
                }
                clients[client].registration = None;
            }
            Step::Read { client } => clients[client].read(client, &log),
            Step::Wait { seconds } => {
                for (number, client) in clients.iter_mut().enumerate() {
                    client.read(number, &log);
                }
                sleep(Duration::from_secs(seconds)).await;
            }
            Step::Restart { is_clean } => {
                if is_clean {
                    hub.save().await.unwrap();
                }
                clients.iter_mut().for_each(|client| client.registration = None);
                journal = journal.copy().await;
                hub = start(&journal).await;
            }
            Step::Connect { .. } => {}
        }
    }

    for (number, client) in clients.iter_mut().enumerate() {
        if client.registration.is_none() {
            client.connect(&hub, number, &log);
        }
        client.read(number, &log);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn an_event_arrives_once_or_a_gap_is_reported(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        paused(run(steps));
    }
}

/// Registers with a position in the user's stream, and returns the start of its reader.
fn resume(hub: &Hub, position: Option<Position>) -> (Verdict, Option<&'static str>, Position) {
    let mut received = None;
    let positions = ImplicitPositions { user: position, ..ImplicitPositions::default() };
    let connection = connection_from("ann", None);
    let registered = hub.register(connection, &positions, |streams| received = Some(streams.user));
    drop(registered.unwrap());
    let start = received.unwrap();
    (start.verdict, start.reason, start.position)
}

#[tokio::test(start_paused = true)]
async fn a_position_of_another_process_is_a_gap() {
    let (old, _programs, _shutdown) = hub();
    let (new, _programs, _shutdown) = hub();
    let (_, _, nothing) = resume(&old, None);
    let event = raw(1);
    let event = MessageBody { name: None, data: &event };
    let something = old.emit_to_user(&user("ann"), event).await.unwrap();
    for has_stream in [false, true] {
        if has_stream {
            new.emit_to_user(&user("ann"), event).await.unwrap();
        }
        for position in [nothing, something] {
            let (verdict, reason, _) = resume(&new, Some(position));
            assert_eq!((verdict, reason), (Verdict::Gap, Some("epoch")));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_connected_for_hours_resumes_without_a_gap() {
    let (hub, _programs, _shutdown) = hub();
    let ann = connection_from("ann", None);
    let registration = register(&hub, &ann).unwrap();
    let mut client = TestClient::new(ann);
    let event = raw(1);
    let event = MessageBody { name: None, data: &event };
    let position = hub.emit_to_user(&user("ann"), event).await.unwrap();

    assert_eq!(client.numbers("@user"), [1]);
    sleep(5 * HOUR).await;
    drop((client, registration));
    sleep(Duration::from_secs(120)).await;
    assert_eq!(resume(&hub, Some(position)).0, Verdict::Resumed);

    // The epoch of the stream is forgotten.
    sleep(2 * HOUR).await;
    assert_eq!(resume(&hub, Some(position)).0, Verdict::Gap);
}

#[tokio::test(start_paused = true)]
async fn a_sent_position_is_valid_for_an_hour() {
    let (hub, _programs, _shutdown) = hub();
    let event = raw(1);
    hub.emit_to_user(&user("ann"), MessageBody { name: None, data: &event }).await.unwrap();
    sleep(HOUR - Duration::from_secs(60)).await;
    let (verdict, _, position) = resume(&hub, None);

    assert_eq!(verdict, Verdict::Fresh);
    sleep(HOUR - Duration::from_secs(60)).await;
    assert_eq!(resume(&hub, Some(position)).0, Verdict::Resumed);
}

#[tokio::test(start_paused = true)]
async fn a_user_without_events_resumes_after_hours() {
    let (hub, _programs, _shutdown) = hub();
    let (_, _, position) = resume(&hub, None);
    sleep(9 * HOUR).await;
    assert_eq!(resume(&hub, Some(position)).0, Verdict::Resumed);

    let event = raw(1);
    hub.emit_to_user(&user("ann"), MessageBody { name: None, data: &event }).await.unwrap();

    assert_eq!(resume(&hub, Some(position)).0, Verdict::Resumed);
    sleep(2 * HOUR).await;
    assert_eq!(resume(&hub, Some(position)).0, Verdict::Gap, "an emitted message is forgotten");
}

#[test]
fn events_that_race_with_registrations_arrive_exactly_once() {
    const CLIENT_COUNT: usize = 8;
    for _ in 0..50 {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap();
        let _inside = runtime.enter();
        let (hub, _programs, _shutdown) = hub();
        let before = connection_from("ann", Some("phone"));
        let _before = register(&hub, &before).unwrap();
        let start = Arc::new(Barrier::new(CLIENT_COUNT + 1));
        let registered: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..CLIENT_COUNT)
                .map(|_| {
                    let (hub, start) = (&hub, &start);
                    scope.spawn(move || {
                        let connection = connection_from("ann", Some("phone"));
                        start.wait();
                        (register(hub, &connection).unwrap(), TestClient::new(connection))
                    })
                })
                .collect();
            start.wait();
            for number in 1..=4 {
                // The first event for each creates the stream.
                let to = if number % 2 == 0 { 1 } else { 3 };
                runtime.block_on(emit(&hub, to, number));
            }
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let mut before = TestClient::new(before);
        let received = before.receive();
        let data: Vec<_> =
            received.iter().map(|m| m["payload"]["data"].as_u64().unwrap()).collect();
        assert_eq!(data.len(), 4, "{data:?}");
        for (_registration, mut client) in registered {
            let received = client.receive();
            for topic in ["@user", "@device"] {
                let of = received.iter().filter(|message| message["payload"]["topic"] == topic);
                let data: Vec<_> =
                    of.map(|message| message["payload"]["data"].as_u64().unwrap()).collect();
                let all = if topic == "@user" { vec![2, 4] } else { vec![1, 3] };
                assert!(all.ends_with(&data), "{topic}: {data:?}");
            }
        }
    }
}
