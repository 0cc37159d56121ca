//! The subject of presence: a topic, a session or a user.

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{SessionId, TopicName, UserId};

/// A topic, session or user whose members presence reports.
///
/// On the wire it is one field: `topic`, `session` or `user`.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The subscribers of a topic.
    Topic(TopicName),
    /// The connections attached to a session.
    Session(SessionId),
    /// The devices of a user.
    User(UserId),
}

#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    topic: Option<TopicName>,
    #[serde(default)]
    session: Option<SessionId>,
    #[serde(default)]
    user: Option<UserId>,
}

// Derived, the enum would take the first known field and ignore a second one.
impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Fields { topic, session, user } = Fields::deserialize(deserializer)?;

        match (topic, session, user) {
            (Some(topic), None, None) => Ok(Self::Topic(topic)),
            (None, Some(session), None) => Ok(Self::Session(session)),
            (None, None, Some(user)) => Ok(Self::User(user)),
            // serde encloses the name in backticks, which completes the pairs inside it.
            (None, None, None) => Err(de::Error::missing_field("topic` or `session` or `user")),
            _ => Err(de::Error::custom("only one of `topic`, `session` and `user` is allowed")),
        }
    }
}
