//! Presence: joined and left once, and what a follower knows is what is true.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;
use rejoin_core::{
    AttachRequest, Caps, CreateTerminal, Hub, OutboxItem, PresenceSubscription, Subscription,
};
use rejoin_protocol::{Role, Subject, TopicName, message::ServerMessage};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{
    listener::Listener,
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

/// What a follower makes of what it is told.
#[derive(Debug, Default)]
struct View {
    members: BTreeSet<(String, Option<String>)>,
    /// Changes since the last state, to which there were so many.
    changes: usize,
    states: usize,
    /// It was told how many there are, but not who.
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
            assert!(self.members.remove(&left), "left without being there: {payload}");
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

/// Follows a subject as a client does.
struct Follower {
    listener: Listener,
    view: View,
}

impl Follower {
    fn new(hub: &Hub, subject: &Subject) -> Self {
        let connection = connection("watcher");
        let mut watcher = identity("watcher");
        watcher.caps = Caps::admin();
        let PresenceSubscription { state, stream, reader } =
            hub.subscribe_presence(&watcher, subject).unwrap();
        connection.send(None, &ServerMessage::Presence(state));
        connection.outbox().push(OutboxItem::StartReading { stream, preamble: Vec::new(), reader });
        Self { listener: Listener::new(connection), view: View::default() }
    }

    fn read(&mut self) -> &View {
        for message in self.listener.hear() {
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
    Follow,
    Read {
        which: prop::sample::Index,
    },
    /// So many come and go that whoever does not read falls behind.
    Bustle,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..MEMBERS.len()).prop_map(|member| Step::Enter { member }),
        5 => any::<prop::sample::Index>().prop_map(|which| Step::Leave { which }),
        4 => (0..14_000u64).prop_map(|millis| Step::Wait { millis }),
        1 => Just(Step::Follow),
        2 => any::<prop::sample::Index>().prop_map(|which| Step::Read { which }),
        1 => Just(Step::Bustle),
    ]
}

/// Who is there by the rules: somebody is connected, or was so less than a grace period ago.
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
    let mut followers = vec![Follower::new(&hub, &subject)];
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
            Step::Follow => followers.push(Follower::new(&hub, &subject)),
            Step::Read { which } => {
                let index = which.index(followers.len());
                followers[index].read();
            }
            Step::Bustle => {
                for number in 0..140 {
                    drop(enter(&format!("guest-{number}"), None));
                }
                sleep(GRACE + SECOND).await;
            }
        }
    }
    sleep(GRACE + SECOND).await;
    for follower in &mut followers {
        assert_eq!(follower.read().members, model.there());
    }
    let state = hub.presence(&identity("ann"), &subject).unwrap();
    assert_eq!(state.members.unwrap().len(), model.there().len());
    assert_eq!(state.connections, there.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn state_and_changes_are_who_is_there_whenever_one_began_to_follow(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        paused(run(steps));
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_in_time_has_not_left_and_who_does_not_has_left_once() {
    let (hub, _programs, _shutdown) = hub();
    let room = topic("room");
    let mut follower = Follower::new(&hub, &Subject::Topic(room.clone()));
    let ann = connection_from("ann", Some("phone"));
    let enter = || hub.subscribe(&ann, &room, None).unwrap().1.unwrap();
    for _ in 0..5 {
        let _stay = enter();
        assert_eq!(follower.read().changes, 1, "she joined, and nothing else");
        sleep(Duration::from_secs(9)).await;
    }
    sleep(GRACE - TICK).await;
    let again = enter();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(follower.read().changes, 1, "she joined, and nothing else");
    drop(again);
    sleep(GRACE - TICK).await;
    assert_eq!(follower.read().changes, 1);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(follower.read().changes, 2);
    assert!(follower.view.members.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_grace_period_counts_from_the_last_time_that_somebody_left() {
    let (hub, _programs, _shutdown) = hub();
    let room = topic("room");
    let mut follower = Follower::new(&hub, &Subject::Topic(room.clone()));
    let ann = connection_from("ann", Some("phone"));
    let enter = || hub.subscribe(&ann, &room, None).unwrap().1.unwrap();
    drop(enter());
    sleep(GRACE / 2).await;
    drop(enter());
    sleep(GRACE - TICK).await;
    assert_eq!(follower.read().changes, 1);
    sleep(2 * TICK).await;
    assert_eq!(follower.read().changes, 2);
}

#[tokio::test(start_paused = true)]
async fn of_a_crowd_counts_are_told_once_a_second_and_who_is_there_when_it_is_small_again() {
    let (hub, _programs, _shutdown) = hub();
    let room = topic("room");
    let subject = Subject::Topic(room.clone());
    let enter = |number: usize| {
        let connection = connection(&format!("user-{number:04}"));
        hub.subscribe(&connection, &room, None).unwrap().1.unwrap()
    };
    let mut there: Vec<_> = (0..500).map(enter).collect();
    let mut follower = Follower::new(&hub, &subject);
    assert_eq!(follower.read().members.len(), 500);
    there.extend((500..2000).map(enter));
    assert_eq!((follower.read().states, follower.view.changes), (1, 0), "nothing is told at once");
    sleep(SECOND + TICK).await;
    assert!(follower.read().is_counted);
    assert_eq!((follower.view.states, follower.view.users), (2, 2000));
    // Whoever asks gets what it costs nothing to know.
    let state = hub.presence(&identity("ann"), &subject).unwrap();
    assert_eq!((state.users, state.connections, state.truncated), (2000, 2000, true));
    assert!(state.members.is_none());
    let mut late = Follower::new(&hub, &subject);
    assert!(late.read().is_counted);
    let told = || hub.subscribe_presence(&identity("eve"), &subject).unwrap().stream.next().0;
    assert_eq!(told(), 1);
    // One by one, within 14 seconds and their grace period.
    for _ in 0..1400 {
        there.pop();
        sleep(TICK).await;
    }
    sleep(GRACE + 2 * SECOND).await;
    assert!((10..=27).contains(&told()), "{}", told());
    assert_eq!(follower.read().users, 600);
    there.truncate(300);
    sleep(GRACE + 2 * SECOND).await;
    for follower in [&mut follower, &mut late] {
        let view = follower.read();
        assert!(!view.is_counted);
        assert_eq!(view.members.len(), 300);
    }
    drop(there.pop());
    sleep(GRACE + 2 * SECOND).await;
    assert_eq!(follower.read().members.len(), 299);
    assert_eq!(late.read().members, follower.view.members);
}

#[tokio::test(start_paused = true)]
async fn a_room_of_many_devices_is_not_told_of_by_single_changes_to_who_has_no_list() {
    let (hub, _programs, _shutdown) = hub();
    let room = topic("room");
    let enter = |number: usize| {
        let user = format!("user-{}", number % 400);
        let connection = connection_from(&user, Some(&format!("device-{number}")));
        hub.subscribe(&connection, &room, None).unwrap().1.unwrap()
    };
    let mut there: Vec<_> = (0..1001).map(enter).collect();
    let mut follower = Follower::new(&hub, &Subject::Topic(room.clone()));
    assert!(follower.read().is_counted);
    there.pop();
    sleep(GRACE + 2 * SECOND).await;
    assert_eq!(follower.read().members.len(), 1000);
    assert_eq!(follower.view.changes, 0);
}

#[tokio::test(start_paused = true)]
async fn who_follows_a_quiet_topic_hears_of_it_after_hours() {
    let (hub, _programs, _shutdown) = hub();
    let room = topic("room");
    let mut follower = Follower::new(&hub, &Subject::Topic(room.clone()));
    follower.read();
    sleep(Duration::from_secs(3 * 3600)).await;
    let _stay = hub.subscribe(&connection("ann"), &room, None).unwrap();
    assert_eq!(follower.read().members.len(), 1);
    drop(follower);
    sleep(Duration::from_secs(2 * 3600)).await;
    assert_eq!(hub.topic_count(), 1, "ann is there");
}

#[tokio::test(start_paused = true)]
async fn to_ask_who_is_there_makes_no_topic() {
    let (hub, _programs, _shutdown) = hub();
    let state = hub.presence(&identity("ann"), &Subject::Topic(topic("room"))).unwrap();
    assert_eq!((state.users, state.members), (0, Some(Vec::new())));
    assert_eq!(hub.topic_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_tells_who_is_attached_and_nobody_when_it_is_gone() {
    let (hub, mut programs, _shutdown) = hub();
    let ann = identity("ann");
    let session = hub.create_terminal(&ann, CreateTerminal::default()).await.unwrap();
    let program = programs.recv().await.unwrap();
    let mut follower = Follower::new(&hub, &Subject::Session(session.id().clone()));
    let request = AttachRequest {
        reply_to: None,
        position: None,
        role: Role::Viewer,
        writer: None,
        size: None,
    };
    let tab = connection_from("ann", Some("laptop"));
    let attachment = session.attach(&tab, request).await.unwrap();
    assert_eq!(follower.read().members.len(), 1);
    drop(program);
    hub.close_session(&session).await;
    drop((attachment, session));
    sleep(GRACE + SECOND).await;
    assert_eq!(follower.read().members.len(), 0);
}
