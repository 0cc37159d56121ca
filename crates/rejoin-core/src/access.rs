//! Who somebody is, and what they may do.

mod authority;
mod rules;

use rejoin_protocol::{ConnectionId, DeviceId, ProfileName, Role, TopicName, UserId};
use serde::{Deserialize, Serialize};

pub use authority::{Author, Authority};
pub use rules::Rules;

/// What may be done with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TopicRight {
    /// Read it.
    Subscribe,
    /// Write to it.
    Publish,
    /// See who reads it.
    Presence,
}

/// What may be done with one's own sessions of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionRight {
    /// Start one.
    Create,
    /// See it.
    Attach,
    /// Type, resize, close.
    Write,
}

/// What a token allows: its claim `caps`.
///
/// A key is a name, or a prefix with `*` at its end; rights of all keys that match add up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Caps {
    /// By topic.
    pub topics: Rules<TopicRight>,
    /// By profile.
    pub sessions: Rules<SessionRight>,
    /// Whether everybody's sessions are open to it.
    pub admin: bool,
}

impl Caps {
    /// All topics, and no sessions: a terminal is the server's own user.
    #[must_use]
    pub fn topics() -> Self {
        use TopicRight::{Presence, Publish, Subscribe};
        let topics = Rules::everything(&[Subscribe, Publish, Presence]);
        Self { topics, ..Self::default() }
    }

    /// All topics and all profiles; the sessions that the user owns.
    #[must_use]
    pub fn user() -> Self {
        use SessionRight::{Attach, Create, Write};
        Self { sessions: Rules::everything(&[Create, Attach, Write]), ..Self::topics() }
    }

    /// Everything.
    #[must_use]
    pub fn admin() -> Self {
        Self { admin: true, ..Self::user() }
    }

    /// Whether the right to a topic is there.
    #[must_use]
    pub fn allows_topic(&self, topic: &TopicName, right: TopicRight) -> bool {
        self.admin || self.topics.allow(topic.as_str(), right)
    }

    /// Whether the right to sessions of a profile is there.
    #[must_use]
    pub fn allows_session(&self, profile: &ProfileName, right: SessionRight) -> bool {
        self.admin || self.sessions.allow(profile.as_str(), right)
    }
}

/// Who a verified token says that somebody is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The user (C2).
    pub user: UserId,
    /// The device that the token was made for, if it names one.
    pub device: Option<DeviceId>,
    /// What it allows.
    pub caps: Caps,
    /// When it ends, in milliseconds since the epoch.
    pub expires_at: Option<u64>,
    /// When the token was made, in milliseconds since the epoch, if it says so.
    pub issued_at: Option<u64>,
    /// The token's own id, if it has one.
    pub token_id: Option<Box<str>>,
    /// What the user is to the program that made the token, if it says so (C2).
    pub role_context: Option<Box<str>>,
    /// The id of the browser session that the request came with.
    pub browser_session: Option<Box<str>>,
}

impl Identity {
    /// A user who has these rights without a token, such as the embedding program itself.
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

    /// Whether this identity has the right to a session of `owner` and `profile`.
    #[must_use]
    pub fn may(&self, owner: &UserId, profile: &ProfileName, right: SessionRight) -> bool {
        self.caps.admin || (self.user == *owner && self.caps.allows_session(profile, right))
    }

    /// The role in which this identity may attach to a session of `owner` and `profile`: the one
    /// that is wanted, or without a wish the one with the most rights. `None`: it may not.
    ///
    /// The only decision of what a connection may do with a session, for every way in.
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
        let may_write = self.may(owner, profile, SessionRight::Write);
        match wanted {
            Some(Role::Writer) => may_write.then_some(Role::Writer),
            Some(Role::Viewer) => Some(Role::Viewer),
            None if may_write => Some(Role::Writer),
            None => Some(Role::Viewer),
        }
    }
}

/// A fresh id, in the order of time.
pub(crate) fn new_id() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

/// A fresh connection id.
pub(crate) fn new_connection_id() -> ConnectionId {
    ConnectionId::new(&new_id()).expect("a UUID is a valid id")
}
