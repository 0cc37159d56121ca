//! Presence: joined and left once, and what a follower knows is what is true.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use proptest::prelude::*;
use rejoin_core::{
    AttachRequest, Caps, CreateTerminal, EventHandler, Following, Hub, HubEvent, Item, Membership,
    Subscription,
};
use rejoin_protocol::{
    ErrorCode, Role, SessionId, Subject, TopicName, UserId,
    message::{ServerMessage, text},
};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{
    listener::Listener,
    support::{connection, connection_from, hub, identity, join, paused},
};

const GRACE: Duration = Duration::from_secs(10);
const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(10);
const MEMBERS: [(&str, Option<&str>); 5] = [
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
        let Following { state, stream, reader } = hub.follow_presence(&watcher, subject).unwrap();
        connection.send(None, &ServerMessage::Presence(state));
        connection.outbox().push(Item::Read { stream, preamble: Vec::new(), reader });
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
    // 1700 leave one by one, within 17 seconds.
    for _ in 0..1700 {
        there.pop();
        sleep(TICK).await;
    }
    sleep(GRACE + 2 * SECOND).await;
    for follower in [&mut follower, &mut late] {
        let view = follower.read();
        assert!(view.states <= 31, "{} states", view.states);
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

#[tokio::test(start_paused = true)]
async fn who_may_not_know_is_not_told_what_there_is() {
    let (hub, mut programs, _shutdown) = hub();
    let (ann, bob) = (identity("ann"), identity("bob"));
    let session = hub.create_terminal(&ann, CreateTerminal::default()).await.unwrap();
    let _program = programs.recv().await.unwrap();
    let user = |name: &str| Subject::User(UserId::new(name).unwrap());
    let there = Subject::Session(session.id().clone());
    let not_there = Subject::Session(SessionId::new("nothing").unwrap());
    assert!(hub.presence(&ann, &there).is_ok());
    let codes = [&there, &not_there].map(|subject| hub.presence(&bob, subject).unwrap_err().code);
    assert_eq!(codes, [ErrorCode::UnknownSession; 2]);
    let _ann = join(&hub, &connection("ann")).unwrap();
    assert!(hub.presence(&bob, &user("bob")).is_ok());
    let answers = ["ann", "nobody"].map(|name| hub.presence(&bob, &user(name)).unwrap_err());
    assert_eq!(text_of(&answers[0]), text_of(&answers[1]));
    assert_eq!(answers[0].code, ErrorCode::Forbidden);
    let mut narrow = identity("ann");
    narrow.caps = serde_json::from_str(r#"{"topics":{"news":["subscribe"]}}"#).unwrap();
    hub.subscribe(&connection("eve"), &topic("news"), None).unwrap();
    for name in ["news", "nothing"] {
        let subject = Subject::Topic(topic(name));
        assert_eq!(hub.presence(&narrow, &subject).unwrap_err().code, ErrorCode::Forbidden);
        assert!(hub.follow_presence(&narrow, &subject).is_err());
        assert!(hub.may_see(&narrow, &subject).is_err());
        assert!(hub.may_see(&ann, &subject).is_ok());
    }
    assert_eq!(hub.topic_count(), 1);
}

fn text_of(error: &rejoin_protocol::message::ErrorBody) -> String {
    text(None, &ServerMessage::Error(error.clone()))
}

/// Whether each user came or has gone, in order.
#[derive(Default)]
struct Heard(Mutex<Vec<(String, bool)>>);

impl EventHandler for Heard {
    fn handle(&self, event: &HubEvent) {
        let (user, came) = match event {
            HubEvent::UserCame { user } => (user, true),
            HubEvent::UserGone { user } => (user, false),
            _ => return,
        };
        self.0.lock().push((user.to_string(), came));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// C5.
    #[test]
    fn a_user_is_gone_once_after_the_last_connection_of_the_last_device(
        steps in prop::collection::vec((0..MEMBERS.len(), any::<bool>(), 0..13_000u64), 1..60),
    ) {
        paused(async {
            let (hub, _programs, _shutdown) = hub();
            let heard = Arc::new(Heard::default());
            hub.set_handler(Arc::clone(&heard) as _).unwrap();
            let mut there: Vec<(usize, Membership)> = Vec::new();
            let mut expected: BTreeMap<&str, Vec<bool>> = BTreeMap::new();
            let mut left_at: BTreeMap<&str, Instant> = BTreeMap::new();
            let end = (0, false, 20_000);
            for (member, comes, wait) in steps.into_iter().chain([end]) {
                let (user, device) = MEMBERS[member];
                let before = there.iter().filter(|(m, _)| MEMBERS[*m].0 == user).count();
                if comes {
                    there.push((member, join(&hub, &connection_from(user, device)).unwrap()));
                    if before == 0 && left_at.remove(user).is_none() {
                        expected.entry(user).or_default().push(true);
                    }
                } else if let Some(index) = there.iter().position(|(m, _)| *m == member) {
                    drop(there.remove(index));
                    if before == 1 {
                        left_at.insert(user, Instant::now());
                    }
                }
                sleep(Duration::from_millis(wait)).await;
                left_at.retain(|user, at| {
                    let is_gone = at.elapsed() >= GRACE;
                    if is_gone {
                        expected.entry(user).or_default().push(false);
                    }
                    !is_gone
                });
            }
            for (user, expected) in expected {
                let heard = heard.0.lock();
                let of_user = heard.iter().filter(|(of, _)| of == user).map(|(_, came)| *came);
                assert_eq!(of_user.collect::<Vec<_>>(), expected, "{user}");
            }
        });
    }
}
