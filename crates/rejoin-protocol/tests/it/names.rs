//! Ids, names and positions.

use proptest::prelude::*;
use rejoin_protocol::{
    DeviceName, InvalidId, Position, ProfileName, TerminalSize, TopicName, UserId,
};

#[test]
fn an_invalid_name_is_refused_with_its_rule() {
    let refused = |result: Result<TopicName, InvalidId>| result.unwrap_err().to_string();
    let rule =
        "the topic must be 1 to 128 characters: letters, digits, `.`, `_`, `:`, `-`, `/`, `@`";

    assert_eq!(refused(TopicName::new("")), rule);
    assert_eq!(refused(TopicName::new("a\"b")), rule);
    assert_eq!(refused(TopicName::new(&"a".repeat(129))), rule);
    assert!(TopicName::new(&"a".repeat(128)).is_ok());

    assert!(ProfileName::new("Claude").is_err());
    assert!(DeviceName::new("my phone\n").is_err());
    assert!(UserId::new("Ünïcode is fine").is_ok());
}

#[test]
fn names_that_begin_with_an_at_sign_are_reserved() {
    assert!(TopicName::new("@user").unwrap().is_reserved());
    assert!(!TopicName::new("user@example").unwrap().is_reserved());
}

#[test]
fn an_out_of_range_size_is_refused() {
    assert!(TerminalSize::new(0, 24).is_none());
    assert!(TerminalSize::new(1001, 24).is_none());
    assert!(TerminalSize::new(80, 501).is_none());
    assert!(TerminalSize::new(1000, 500).is_some());
}

proptest! {
    #[test]
    fn a_position_is_parsed_from_its_text(epoch: u64, offset: u64) {
        let position = Position { epoch, offset };
        prop_assert_eq!(position.to_string().parse(), Ok(position));
    }

    #[test]
    fn any_text_is_parsed_or_refused_without_a_panic(text: String) {
        let _ = text.parse::<Position>();
    }
}
