//! Users: going online and offline, and the right to see it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use proptest::prelude::*;
use rejoin_core::{CreateTerminal, EventHandler, HubEvent, Registration};
use rejoin_protocol::{
    ErrorCode, SessionId, Subject, TopicName, UserId,
    message::{ErrorBody, ServerMessage, text},
};
use tokio::time::{Instant, sleep};

use crate::{
    presence::{GRACE, MEMBERS},
    support::{connection, connection_from, hub, identity, paused, register},
};

fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

#[tokio::test(start_paused = true)]
async fn refusals_do_not_reveal_what_exists() {
    let (hub, mut programs, _shutdown) = hub();
    let (ann, bob) = (identity("ann"), identity("bob"));
    let session = hub.create_terminal(&ann, CreateTerminal::default()).await.unwrap();
    let _program = programs.recv().await.unwrap();
    let user = |name: &str| Subject::User(UserId::new(name).unwrap());
    let there = Subject::Session(session.id().clone());
    let missing = Subject::Session(SessionId::new("nothing").unwrap());

    assert!(hub.presence(&ann, &there).is_ok());

    let codes = [&there, &missing].map(|subject| hub.presence(&bob, subject).unwrap_err().code);

    assert_eq!(codes, [ErrorCode::UnknownSession; 2]);

    let _ann = register(&hub, &connection("ann")).unwrap();

    assert!(hub.presence(&bob, &user("bob")).is_ok());

    let answers = ["ann", "missing"].map(|name| hub.presence(&bob, &user(name)).unwrap_err());

    assert_eq!(text_of(&answers[0]), text_of(&answers[1]));
    assert_eq!(answers[0].code, ErrorCode::Forbidden);

    let mut narrow = identity("ann");
    narrow.caps = serde_json::from_str(r#"{"topics":{"news":["subscribe"]}}"#).unwrap();
    hub.subscribe(&connection("eve"), &topic("news"), None).unwrap();
    for name in ["news", "nothing"] {
        let subject = Subject::Topic(topic(name));
        assert_eq!(hub.presence(&narrow, &subject).unwrap_err().code, ErrorCode::Forbidden);
        assert!(hub.subscribe_presence(&narrow, &subject).is_err());
        assert!(hub.check_presence(&narrow, &subject).is_err());
        assert!(hub.check_presence(&ann, &subject).is_ok());
    }

    assert_eq!(hub.topic_count(), 1);
}

fn text_of(error: &ErrorBody) -> String {
    text(None, &ServerMessage::Error(error.clone()))
}

/// Records whether each user went online or offline, in order.
#[derive(Default)]
struct Recorder(Mutex<Vec<(String, bool)>>);

impl EventHandler for Recorder {
    fn handle(&self, event: &HubEvent) {
        let (user, is_online) = match event {
            HubEvent::UserOnline { user } => (user, true),
            HubEvent::UserOffline { user } => (user, false),
            _ => return,
        };
        self.0.lock().push((user.to_string(), is_online));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_user_goes_offline_once_after_the_last_device(
        steps in prop::collection::vec((0..MEMBERS.len(), any::<bool>(), 0..13_000u64), 1..60),
    ) {
        paused(async {
            let (hub, _programs, _shutdown) = hub();
            let recorder = Arc::new(Recorder::default());
            hub.set_handler(Arc::clone(&recorder) as _).unwrap();
            let mut there: Vec<(usize, Registration)> = Vec::new();
            let mut expected: BTreeMap<&str, Vec<bool>> = BTreeMap::new();
            let mut left_at: BTreeMap<&str, Instant> = BTreeMap::new();
            let end = (0, false, 20_000);
            for (member, enters, wait) in steps.into_iter().chain([end]) {
                let (user, device) = MEMBERS[member];
                let before = there.iter().filter(|(m, _)| MEMBERS[*m].0 == user).count();
                if enters {
                    there.push((member, register(&hub, &connection_from(user, device)).unwrap()));
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
                let received = recorder.0.lock();
                let of_user = received.iter().filter(|(of, _)| of == user);
                let of_user = of_user.map(|(_, is_online)| *is_online);
                assert_eq!(of_user.collect::<Vec<_>>(), expected, "{user}");
            }
        });
    }
}
