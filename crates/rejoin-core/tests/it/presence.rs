//! Presence: members join and leave once, and subscribers have the true state.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;
use rejoin_core::{Caps, CreateTerminal, Hub, OutboxItem, PresenceSubscription, Subscription};
use rejoin_protocol::{Role, Subject, TopicName, message::ServerMessage};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{
    client::TestClient,
    session::request,
    support::{connection, connection_from, hub, identity, paused},
};

pub(crate) const GRACE: Duration = Duration::from_secs(10);
const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(10);
pub(crate) const MEMBERS: [(&str, Option<&str>); 5] = [
    ("ann", Some("laptop")),
    ("ann", Some("phone")),
    ("bob", None),
    ("bob", Some("phone")),
    ("eve", None),
];

fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

/// The state that a subscriber derives from its messages.
#[derive(Debug, Default)]
struct View {
    members: BTreeSet<(String, Option<String>)>,
    /// The number of changes.
    changes: usize,
    states: usize,
    /// The last state had counts and no members.
    is_counted: bool,
    users: u64,
}

fn member(present: &Value) -> (String, Option<String>) {
    let text = |field: &str| present[field].as_str().map(str::to_owned);
    (text("user").unwrap(), text("device"))
}

impl View {
    fn fold(&mut self, message: &Value) {
        assert_eq!(message["type"], "presence", "{message}");

        let payload = &message["payload"];
        self.users = payload["users"].as_u64().unwrap();
        let of = |view: &Self, user: &str| view.members.iter().any(|(of, _)| of == user);
        if payload["joined"].is_object() {
            let joined = member(&payload["joined"]);
            let user = joined.0.clone();
            assert_eq!(payload["whole_user"], !of(self, &user), "{payload}");
            assert!(self.members.insert(joined), "joined twice: {payload}");
            self.changes += 1;
        } else if payload["left"].is_object() {
            let left = member(&payload["left"]);
            assert!(self.members.remove(&left), "left without having joined: {payload}");
            assert_eq!(payload["whole_user"], !of(self, &left.0), "{payload}");
            self.changes += 1;
        } else if let Some(members) = payload["members"].as_array() {
            self.members = members.iter().map(member).collect();
            assert_eq!(self.members.len(), members.len());
            (self.is_counted, self.states) = (false, self.states + 1);
        } else {
            assert_eq!(payload["truncated"], true);
            self.is_counted = true;
            self.states += 1;
        }

        if !self.is_counted {
            let users: BTreeSet<_> = self.members.iter().map(|(user, _)| user).collect();
            assert_eq!(self.users, users.len() as u64, "{payload}");
        }
    }
}

/// Subscribes to a subject as a client does.
struct Subscriber {
    client: TestClient,
    view: View,
}

impl Subscriber {
    fn new(hub: &Hub, subject: &Subject) -> Self {
        let connection = connection("watcher");
        let mut watcher = identity("watcher");
        watcher.caps = Caps::admin();
        let PresenceSubscription { state, stream, reader } =
            hub.subscribe_presence(&watcher, subject).unwrap();
        connection.send(None, &ServerMessage::Presence(state));
        connection.outbox().push(OutboxItem::StartReading {
            stream,
            preamble: Vec::new(),
            reader,
            window: None,
        });
        Self { client: TestClient::new(connection), view: View::default() }
    }

    fn read(&mut self) -> &View {
        for message in self.client.receive() {
            self.view.fold(&message);
        }
        &self.view
    }
}

#[derive(Clone, Debug)]
enum Step {
    Enter {
        member: usize,
    },
    Leave {
        which: prop::sample::Index,
    },
    Wait {
        millis: u64,
    },
    Subscribe,
    Read {
        which: prop::sample::Index,
    },
    /// Many members come and go, so that subscribers that do not read fall behind.
    Burst,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..MEMBERS.len()).prop_map(|member| Step::Enter { member }),
        5 => any::<prop::sample::Index>().prop_map(|which| Step::Leave { which }),
        4 => (0..14_000u64).prop_map(|millis| Step::Wait { millis }),
        1 => Just(Step::Subscribe),
        2 => any::<prop::sample::Index>().prop_map(|which| Step::Read { which }),
        1 => Just(Step::Burst),
    ]
}

/// The expected members, each with its connections and its last change.
#[derive(Default)]
struct Model(BTreeMap<(String, Option<String>), (usize, Instant)>);

impl Model {
    fn there(&self) -> BTreeSet<(String, Option<String>)> {
        let there = self.0.iter().filter(|(_, (count, _))| *count > 0);
        there.map(|(member, _)| member.clone()).collect()
    }
}

fn key(member: usize) -> (String, Option<String>) {
    let (user, device) = MEMBERS[member];
    (user.to_owned(), device.map(str::to_owned))
}

async fn run(steps: Vec<Step>) {
    let (hub, _programs, _shutdown) = hub();
    let room = topic("room");
    let subject = Subject::Topic(room.clone());
    let mut model = Model::default();
    let mut there: Vec<(usize, Subscription)> = Vec::new();
    let mut subscribers = vec![Subscriber::new(&hub, &subject)];
    let enter = |user: &str, device: Option<&str>| {
        let connection = connection_from(user, device);
        hub.subscribe(&connection, &room, None).unwrap().1.unwrap()
    };

    for step in steps {
        match step {
            Step::Enter { member } => {
                let (user, device) = MEMBERS[member];
                there.push((member, enter(user, device)));
                let now = Instant::now();
                model.0.entry(key(member)).or_insert((0, now)).0 += 1;
            }
            Step::Leave { which } if !there.is_empty() => {
                let (member, subscription) = there.remove(which.index(there.len()));
                drop(subscription);
                let entry = model.0.get_mut(&key(member)).unwrap();
                *entry = (entry.0 - 1, Instant::now());
            }
            Step::Leave { .. } => {}
            Step::Wait { millis } => sleep(Duration::from_millis(millis)).await,
            Step::Subscribe => subscribers.push(Subscriber::new(&hub, &subject)),
            Step::Read { which } => {
                let index = which.index(subscribers.len());
                subscribers[index].read();
            }
            Step::Burst => {
                for number in 0..140 {
                    drop(enter(&format!("guest-{number}"), None));
                }
                sleep(GRACE + SECOND).await;
            }
        }
    }

    sleep(GRACE + SECOND).await;
    for subscriber in &mut subscribers {
        assert_eq!(subscriber.read().members, model.there());
    }

    let state = hub.presence(&identity("ann"), &subject).unwrap();

    assert_eq!(state.members.unwrap().len(), model.there().len());
    assert_eq!(state.connections, there.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_subscriber_has_the_true_state_from_any_start(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        paused(run(steps));
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_reconnects_in_time_has_not_left() {
    let (hub, _programs, _shutdown) = hub();
    let room = topic("room");
    let mut subscriber = Subscriber::new(&hub, &Subject::Topic(room.clone()));
    let ann = connection_from("ann", Some("phone"));
    let enter = || hub.subscribe(&ann, &room, None).unwrap().1.unwrap();
    for _ in 0..5 {
        let _subscription = enter();
        assert_eq!(subscriber.read().changes, 1, "ann joined, and nothing else");
        sleep(Duration::from_secs(9)).await;
    }

    sleep(GRACE - TICK).await;
    let again = enter();
    sleep(Duration::from_secs(60)).await;

    assert_eq!(subscriber.read().changes, 1, "ann joined, and nothing else");
    drop(again);
    sleep(GRACE - TICK).await;
    assert_eq!(subscriber.read().changes, 1);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(subscriber.read().changes, 2);
    assert!(subscriber.view.members.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_grace_period_starts_at_the_last_disconnect() {
    let (hub, _programs, _shutdown) = hub();
    let room = topic("room");
    let mut subscriber = Subscriber::new(&hub, &Subject::Topic(room.clone()));
    let ann = connection_from("ann", Some("phone"));
    let enter = || hub.subscribe(&ann, &room, None).unwrap().1.unwrap();
    drop(enter());
    sleep(GRACE / 2).await;
    drop(enter());
    sleep(GRACE - TICK).await;

    assert_eq!(subscriber.read().changes, 1);
    sleep(2 * TICK).await;
    assert_eq!(subscriber.read().changes, 2);
}

#[tokio::test(start_paused = true)]
async fn large_groups_get_counts_until_they_shrink() {
    let (hub, _programs, _shutdown) = hub();
    let room = topic("room");
    let subject = Subject::Topic(room.clone());
    let enter = |number: usize| {
        let connection = connection(&format!("user-{number:04}"));
        hub.subscribe(&connection, &room, None).unwrap().1.unwrap()
    };

    let mut there: Vec<_> = (0..500).map(enter).collect();
    let mut subscriber = Subscriber::new(&hub, &subject);

    assert_eq!(subscriber.read().members.len(), 500);
    there.extend((500..2000).map(enter));
    assert_eq!(
        (subscriber.read().states, subscriber.view.changes),
        (1, 0),
        "no message is sent at once"
    );
    sleep(SECOND + TICK).await;
    assert!(subscriber.read().is_counted);
    assert_eq!((subscriber.view.states, subscriber.view.users), (2, 2000));

    // A query returns the counts only.
    let state = hub.presence(&identity("ann"), &subject).unwrap();

    assert_eq!((state.users, state.connections, state.truncated), (2000, 2000, true));
    assert!(state.members.is_none());

    let mut late = Subscriber::new(&hub, &subject);

    assert!(late.read().is_counted);

    let published = || hub.subscribe_presence(&identity("eve"), &subject).unwrap().stream.next().0;

    assert_eq!(published(), 1);

    // One by one, within 14 seconds and the grace period.
    for _ in 0..1400 {
        there.pop();
        sleep(TICK).await;
    }

    sleep(GRACE + 2 * SECOND).await;
    assert!((10..=27).contains(&published()), "{}", published());
    assert_eq!(subscriber.read().users, 600);
    there.truncate(300);
    sleep(GRACE + 2 * SECOND).await;
    for subscriber in [&mut subscriber, &mut late] {
        let view = subscriber.read();
        assert!(!view.is_counted);
        assert_eq!(view.members.len(), 300);
    }

    drop(there.pop());
    sleep(GRACE + 2 * SECOND).await;
    assert_eq!(subscriber.read().members.len(), 299);
    assert_eq!(late.read().members, subscriber.view.members);
}

#[tokio::test(start_paused = true)]
async fn many_devices_get_counts_instead_of_changes() {
    let (hub, _programs, _shutdown) = hub();
    let room = topic("room");
    let enter = |number: usize| {
        let user = format!("user-{}", number % 400);
        let connection = connection_from(&user, Some(&format!("device-{number}")));
        hub.subscribe(&connection, &room, None).unwrap().1.unwrap()
    };

    let mut there: Vec<_> = (0..1001).map(enter).collect();
    let mut subscriber = Subscriber::new(&hub, &Subject::Topic(room.clone()));

    assert!(subscriber.read().is_counted);
    there.pop();
    sleep(GRACE + 2 * SECOND).await;
    assert_eq!(subscriber.read().members.len(), 1000);
    assert_eq!(subscriber.view.changes, 0);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_to_an_idle_topic_survives_hours() {
    let (hub, _programs, _shutdown) = hub();
    let room = topic("room");
    let mut subscriber = Subscriber::new(&hub, &Subject::Topic(room.clone()));
    subscriber.read();
    sleep(Duration::from_secs(3 * 3600)).await;
    let _subscription = hub.subscribe(&connection("ann"), &room, None).unwrap();

    assert_eq!(subscriber.read().members.len(), 1);
    drop(subscriber);
    sleep(Duration::from_secs(2 * 3600)).await;
    assert_eq!(hub.topic_count(), 1, "ann is subscribed");
}

#[tokio::test(start_paused = true)]
async fn a_presence_query_creates_no_topic() {
    let (hub, _programs, _shutdown) = hub();
    let state = hub.presence(&identity("ann"), &Subject::Topic(topic("room"))).unwrap();
    assert_eq!((state.users, state.members), (0, Some(Vec::new())));
    assert_eq!(hub.topic_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_lists_attached_members_until_it_is_removed() {
    let (hub, mut programs, _shutdown) = hub();
    let ann = identity("ann");
    let session = hub.create_terminal(&ann, CreateTerminal::default()).await.unwrap();
    let program = programs.recv().await.unwrap();
    let mut subscriber = Subscriber::new(&hub, &Subject::Session(session.id().clone()));

    let tab = connection_from("ann", Some("laptop"));
    let attachment = session.attach(&tab, request(Role::Viewer, None)).await.unwrap();

    assert_eq!(subscriber.read().members.len(), 1);
    drop(program);
    hub.close_session(&session).await;
    drop((attachment, session));
    sleep(GRACE + SECOND).await;
    assert_eq!(subscriber.read().members.len(), 0);
}
