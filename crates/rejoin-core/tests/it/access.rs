//! The rights of a token.

use rejoin_core::{Caps, SessionRight, TopicRight};
use rejoin_protocol::{ProfileName, TopicName, UserId};

use crate::support::identity;

fn caps(json: &str) -> Caps {
    serde_json::from_str(json).unwrap()
}

fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

#[test]
fn rights_of_all_rules_that_match_add_up() {
    let caps = caps(r#"{"topics":{"news.*":["subscribe"],"news.7":["publish"]}}"#);
    assert!(caps.allows_topic(&topic("news.7"), TopicRight::Publish));
    assert!(caps.allows_topic(&topic("news.7"), TopicRight::Subscribe));
    assert!(!caps.allows_topic(&topic("news.8"), TopicRight::Publish));
    assert!(!caps.allows_topic(&topic("news"), TopicRight::Subscribe));
    assert!(!caps.allows_topic(&topic("news.7"), TopicRight::Presence));
}

#[test]
fn rights_that_are_not_granted_are_refused() {
    let caps = caps("{}");
    let terminal = ProfileName::new("terminal").unwrap();
    assert!(!caps.allows_topic(&topic("news"), TopicRight::Subscribe));
    assert!(!caps.allows_session(&terminal, SessionRight::Create));
    assert!(!caps.admin);
}

#[test]
fn a_mistake_in_caps_is_an_error_not_a_right() {
    let error = serde_json::from_str::<Caps>(r#"{"topics":{"a":["read"]}}"#).unwrap_err();
    assert!(error.to_string().contains("`subscribe`"), "{error}");
    assert!(serde_json::from_str::<Caps>(r#"{"topic":{}}"#).is_err());
}

#[test]
fn caps_survive_serialization() {
    for caps in [Caps::user(), Caps::admin(), Caps::default()] {
        let json = serde_json::to_string(&caps).unwrap();
        assert_eq!(serde_json::from_str::<Caps>(&json).unwrap(), caps);
    }
}

#[test]
fn sessions_belong_to_their_owner_and_to_administrators() {
    let terminal = ProfileName::new("terminal").unwrap();
    let ann = UserId::new("ann").unwrap();
    assert!(identity("ann").may(&ann, &terminal, SessionRight::Write));
    assert!(!identity("bob").may(&ann, &terminal, SessionRight::Attach));

    let mut root = identity("root");
    root.caps = Caps::admin();

    assert!(root.may(&ann, &terminal, SessionRight::Write));
}
