//! Ids and names: newtypes that validate their text.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::limits;

/// A text that breaks the rule of its id type; the error message states the rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {rule}")]
pub struct InvalidId {
    what: &'static str,
    rule: &'static str,
}

// `message/published.rs` writes topics and event names into JSON without escaping them. So neither
// of these two functions may ever accept `"`, `\` or a control character.
fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-')
}

fn is_topic_byte(byte: u8) -> bool {
    is_id_byte(byte) || matches!(byte, b'/' | b'@')
}

fn is_profile_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
}

fn is_text(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

macro_rules! text_id {
    (
        $(#[$doc:meta])*
        $name:ident, $what:literal, $max:expr, $rule:literal, $valid:expr, $pattern:literal
    ) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        // Shared, because ids are cloned into many maps, tasks and messages.
        pub struct $name(Arc<str>);

        impl $name {
            #[doc = concat!("Creates the id from a text of ", $rule, ".")]
            ///
            /// # Errors
            /// [`InvalidId`] if the text breaks the rule.
            pub fn new(text: &str) -> Result<Self, InvalidId> {
                // The annotation lets `$valid` be a closure without parameter types.
                let valid: fn(&str) -> bool = $valid;
                if text.is_empty() || text.len() > $max || !valid(text) {
                    return Err(InvalidId { what: $what, rule: $rule });
                }

                Ok(Self(text.into()))
            }

            /// Returns the text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                // A visitor instead of `String`: it borrows the text from the input.
                struct Visitor;

                impl de::Visitor<'_> for Visitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("a string: ", $rule))
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::new(text).map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(Visitor)
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                let rule = concat!("Text of ", $rule, ".");
                crate::schema::text(rule, Some($pattern), Some($max)).into()
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {}
    };
}

text_id!(
    /// A user's id: the verified token's `sub`.
    UserId, "the user id", limits::MAX_USER_ID_BYTES,
    "1 to 128 bytes without control characters", is_text,
    r"^[^\x00-\x1f\x7f-\x9f]+$"
);
text_id!(
    /// A connection's id, assigned by the server.
    ConnectionId, "the connection id", limits::MAX_ID_BYTES,
    "1 to 64 characters: letters, digits, `.`, `_`, `:`, `-`", |t| t.bytes().all(is_id_byte),
    r"^[A-Za-z0-9._:-]+$"
);
text_id!(
    /// A session's id.
    SessionId, "the session id", limits::MAX_ID_BYTES,
    "1 to 64 characters: letters, digits, `.`, `_`, `:`, `-`", |t| t.bytes().all(is_id_byte),
    r"^[A-Za-z0-9._:-]+$"
);
text_id!(
    /// A device's id, chosen by the device.
    DeviceId, "the device id", limits::MAX_ID_BYTES,
    "1 to 64 characters: letters, digits, `.`, `_`, `:`, `-`", |t| t.bytes().all(is_id_byte),
    r"^[A-Za-z0-9._:-]+$"
);
text_id!(
    /// A device's name for people.
    DeviceName, "the device name", limits::MAX_DEVICE_NAME_BYTES,
    "1 to 100 bytes without control characters", is_text,
    r"^[^\x00-\x1f\x7f-\x9f]+$"
);
text_id!(
    /// A topic's name; the server reserves names that begin with `@`.
    TopicName, "the topic", limits::MAX_TOPIC_BYTES,
    "1 to 128 characters: letters, digits, `.`, `_`, `:`, `-`, `/`, `@`",
    |t| t.bytes().all(is_topic_byte),
    r"^[A-Za-z0-9._:/@-]+$"
);
text_id!(
    /// The name of a profile from which terminals start.
    ProfileName, "the profile name", limits::MAX_PROFILE_BYTES,
    "1 to 32 characters: lower-case letters, digits, `_`, `-`", |t| t.bytes().all(is_profile_byte),
    r"^[a-z0-9_-]+$"
);
text_id!(
    /// A client's id for a message, echoed as `reply_to`.
    MessageId, "the message id", limits::MAX_MESSAGE_ID_BYTES,
    "1 to 64 bytes without control characters", is_text,
    r"^[^\x00-\x1f\x7f-\x9f]+$"
);
text_id!(
    /// The id of a source of numbered terminal input; a tab keeps it across reconnects.
    WriterId, "the writer id", limits::MAX_ID_BYTES,
    "1 to 64 characters: letters, digits, `.`, `_`, `:`, `-`", |t| t.bytes().all(is_id_byte),
    r"^[A-Za-z0-9._:-]+$"
);
text_id!(
    /// An idempotency key: a retry carries the key of the original request.
    RequestKey, "the idempotency key", limits::MAX_KEY_BYTES,
    "1 to 128 bytes without control characters", is_text,
    r"^[^\x00-\x1f\x7f-\x9f]+$"
);
text_id!(
    /// The name of an emitted event.
    EventName, "the event name", limits::MAX_EVENT_BYTES,
    "1 to 64 characters: letters, digits, `.`, `_`, `:`, `-`", |t| t.bytes().all(is_id_byte),
    r"^[A-Za-z0-9._:-]+$"
);

impl TopicName {
    /// Returns `true` if the server reserves the name (`@user`, `@all`, …).
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('@')
    }

    /// Returns `true` if each connection reads the topic's stream without subscribing.
    #[must_use]
    pub fn is_implicit(&self) -> bool {
        matches!(&*self.0, "@all" | "@user" | "@device")
    }
}
