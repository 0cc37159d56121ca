//! Ids and names: newtypes that are validated when they are made.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::limits;

/// Why a text is not an id of its kind; the sentence names the rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {rule}")]
pub struct InvalidId {
    what: &'static str,
    rule: &'static str,
}

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
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            #[doc = concat!("Takes a text that is ", $rule, ".")]
            ///
            /// # Errors
            /// [`InvalidId`] with the rule, if the text breaks it.
            pub fn new(text: &str) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if text.is_empty() || text.len() > $max || !valid(text) {
                    return Err(InvalidId { what: $what, rule: $rule });
                }
                Ok(Self(text.into()))
            }

            /// The text.
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
    /// Who a connection belongs to: the verified token's `sub` (C2).
    UserId, "the user id", limits::MAX_USER_ID_BYTES,
    "1 to 128 bytes without control characters", is_text,
    r"^[^\x00-\x1f\x7f-\x9f]+$"
);
text_id!(
    /// One socket from one client, for as long as it lives.
    ConnectionId, "the connection id", limits::MAX_ID_BYTES,
    "1 to 64 of letters, digits, `.`, `_`, `:`, `-`", |t| t.bytes().all(is_id_byte),
    r"^[A-Za-z0-9._:-]+$"
);
text_id!(
    /// A live thing that connections attach to.
    SessionId, "the session id", limits::MAX_ID_BYTES,
    "1 to 64 of letters, digits, `.`, `_`, `:`, `-`", |t| t.bytes().all(is_id_byte),
    r"^[A-Za-z0-9._:-]+$"
);
text_id!(
    /// One of a user's devices, named by the device itself.
    DeviceId, "the device id", limits::MAX_ID_BYTES,
    "1 to 64 of letters, digits, `.`, `_`, `:`, `-`", |t| t.bytes().all(is_id_byte),
    r"^[A-Za-z0-9._:-]+$"
);
text_id!(
    /// What a person calls a device.
    DeviceName, "the device name", limits::MAX_DEVICE_NAME_BYTES,
    "1 to 100 bytes without control characters", is_text,
    r"^[^\x00-\x1f\x7f-\x9f]+$"
);
text_id!(
    /// A topic; names that begin with `@` are the server's own.
    TopicName, "the topic", limits::MAX_TOPIC_BYTES,
    "1 to 128 of letters, digits, `.`, `_`, `:`, `-`, `/`, `@`", |t| t.bytes().all(is_topic_byte),
    r"^[A-Za-z0-9._:/@-]+$"
);
text_id!(
    /// A profile that terminals start from.
    ProfileName, "the profile", limits::MAX_PROFILE_BYTES,
    "1 to 32 of lower-case letters, digits, `_`, `-`", |t| t.bytes().all(is_profile_byte),
    r"^[a-z0-9_-]+$"
);
text_id!(
    /// A client's number for a message, echoed as `reply_to`.
    MessageId, "the message id", limits::MAX_MESSAGE_ID_BYTES,
    "1 to 64 bytes without control characters", is_text,
    r"^[^\x00-\x1f\x7f-\x9f]+$"
);
text_id!(
    /// Who numbers a terminal's input: a tab keeps it when it reconnects.
    WriterId, "the writer", limits::MAX_ID_BYTES,
    "1 to 64 of letters, digits, `.`, `_`, `:`, `-`", |t| t.bytes().all(is_id_byte),
    r"^[A-Za-z0-9._:-]+$"
);
text_id!(
    /// What makes a retry harmless: the same request carries the same key.
    RequestKey, "the key", limits::MAX_KEY_BYTES,
    "1 to 128 bytes without control characters", is_text,
    r"^[^\x00-\x1f\x7f-\x9f]+$"
);
text_id!(
    /// What an emitted message is about.
    EventName, "the event", limits::MAX_EVENT_BYTES,
    "1 to 64 of letters, digits, `.`, `_`, `:`, `-`", |t| t.bytes().all(is_id_byte),
    r"^[A-Za-z0-9._:-]+$"
);

impl TopicName {
    /// Whether the name is the server's own (`@user`, `@all`, ...).
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('@')
    }

    /// Whether each connection reads it without asking.
    #[must_use]
    pub fn is_implicit(&self) -> bool {
        matches!(&*self.0, "@all" | "@user" | "@device")
    }
}
