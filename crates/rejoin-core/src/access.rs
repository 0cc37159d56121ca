//! Identities, and the rights that their tokens grant.

mod authority;
mod rules;

use rejoin_protocol::{ConnectionId, DeviceId, ProfileName, Role, TopicName, UserId};
use serde::{Deserialize, Serialize};

pub use authority::Authority;
pub use rules::Rules;
pub(crate) use rules::matches;

/// A right to a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TopicRight {
    /// Reading messages.
    Subscribe,
    /// Publishing messages.
    Publish,
    /// Seeing the subscribers.
    Presence,
}

/// A right to the user's own sessions of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionRight {
    /// Starting a session.
    Create,
    /// Listing and viewing a session.
    Attach,
    /// Typing, resizing, signalling and closing.
    Write,
}

/// The rights of a token: its claim `caps`.
///
/// A key is a name, or a prefix followed by `*`. The rights of all matching keys add up.
///
/// ```
/// use rejoin_core::{Caps, TopicRight};
/// use rejoin_protocol::TopicName;
///
/// let json = r#"{"topics": {"news.*": ["subscribe"], "news.sports": ["publish"]}}"#;
/// let caps: Caps = serde_json::from_str(json).unwrap();
///
/// let sports = TopicName::new("news.sports").unwrap();
/// assert!(caps.allows_topic(&sports, TopicRight::Subscribe));
/// assert!(caps.allows_topic(&sports, TopicRight::Publish));
///
/// let world = TopicName::new("news.world").unwrap();
/// assert!(!caps.allows_topic(&world, TopicRight::Publish));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Caps {
    /// Rights by topic.
    pub topics: Rules<TopicRight>,
    /// Rights by profile.
    pub sessions: Rules<SessionRight>,
    /// Grants all rights, to the sessions of all users as well.
    pub admin: bool,
}

impl Caps {
    /// Returns all rights to topics and none to sessions.
    ///
    /// A terminal runs as the server's own user, so sessions must be granted explicitly.
    #[must_use]
    pub fn topics() -> Self {
        use TopicRight::{Presence, Publish, Subscribe};
        let topics = Rules::everything(&[Subscribe, Publish, Presence]);
        Self { topics, ..Self::default() }
    }

    /// Returns all rights to topics and to the user's own sessions of all profiles.
    #[must_use]
    pub fn user() -> Self {
        use SessionRight::{Attach, Create, Write};
        Self { sessions: Rules::everything(&[Create, Attach, Write]), ..Self::topics() }
    }

    /// Returns the rights of an administrator.
    #[must_use]
    pub fn admin() -> Self {
        Self { admin: true, ..Self::user() }
    }

    /// Returns `true` if the right to the topic is granted.
    #[must_use]
    pub fn allows_topic(&self, topic: &TopicName, right: TopicRight) -> bool {
        self.admin || self.topics.allow(topic.as_str(), right)
    }

    /// Returns `true` if the right to sessions of the profile is granted.
    #[must_use]
    pub fn allows_session(&self, profile: &ProfileName, right: SessionRight) -> bool {
        self.admin || self.sessions.allow(profile.as_str(), right)
    }
}

/// The verified identity of a caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The user.
    pub user: UserId,
    /// The device that the token was issued for, if it names one.
    pub device: Option<DeviceId>,
    /// The rights.
    pub caps: Caps,
    /// The end of the token, in milliseconds since the Unix epoch. `None`: it does not expire.
    pub expires_at: Option<u64>,
    /// The issue of the token, in milliseconds since the Unix epoch, if the token names it.
    pub issued_at: Option<u64>,
    /// The id of the token, if it has one.
    pub token_id: Option<Box<str>>,
    /// The user's role in the program that issued the token, if the token names it. Opaque here.
    pub role_context: Option<Box<str>>,
    /// The browser session of the request, if it was made with a session cookie.
    pub browser_session: Option<Box<str>>,
}

impl Identity {
    /// Creates the identity of a caller without a token, such as the embedding program.
    #[must_use]
    pub fn new(user: UserId, caps: Caps) -> Self {
        Self {
            user,
            device: None,
            caps,
            expires_at: None,
            issued_at: None,
            token_id: None,
            role_context: None,
            browser_session: None,
        }
    }

    /// Returns `true` if the identity has the right to a session of `owner` and `profile`.
    #[must_use]
    pub fn may(&self, owner: &UserId, profile: &ProfileName, right: SessionRight) -> bool {
        self.caps.admin || (self.user == *owner && self.caps.allows_session(profile, right))
    }

    /// Returns the role for an attach to a session of `owner` and `profile`; `None` if refused.
    ///
    /// Without a `wanted` role, it is the role with the most rights. Every way to attach must use
    /// this method, so that the decision is made in one place.
    #[must_use]
    pub fn role(
        &self,
        owner: &UserId,
        profile: &ProfileName,
        wanted: Option<Role>,
    ) -> Option<Role> {
        if !self.may(owner, profile, SessionRight::Attach) {
            return None;
        }

        // A caller without the right to write may still view.
        let may_write = self.may(owner, profile, SessionRight::Write);
        match wanted {
            Some(Role::Writer) => may_write.then_some(Role::Writer),
            Some(Role::Viewer) => Some(Role::Viewer),
            None if may_write => Some(Role::Writer),
            None => Some(Role::Viewer),
        }
    }
}

/// Creates an id. Ids sort by the time of their creation.
#[must_use]
pub fn new_id() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

/// Creates a connection id.
pub(crate) fn new_connection_id() -> ConnectionId {
    ConnectionId::new(&new_id()).expect("a UUID is a valid id")
}
