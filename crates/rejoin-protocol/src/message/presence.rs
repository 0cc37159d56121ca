//! Who is there, as the server tells it.

use serde::Serialize;

use crate::{DeviceId, DeviceName, Subject, UserId};

/// Who is there: the answer to `presence`, and what a follower gets that fell behind.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Debug, Serialize)]
pub struct PresenceState {
    /// Where.
    #[serde(flatten)]
    pub subject: Subject,
    /// How many users.
    pub users: usize,
    /// How many connections.
    pub connections: usize,
    /// Each device that is there, by user; at most 1000, and none in a change of large numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<PresenceMember>>,
    /// Whether there are more members than are listed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// A device of a user, as presence shows it.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PresenceMember {
    /// The user.
    pub user: UserId,
    /// The device; null for connections that name none.
    pub device: Option<DeviceId>,
    /// What the person calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_name: Option<DeviceName>,
    /// How many connections it has there; 0 while it may still come back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<usize>,
}

/// A device that came or has gone; `joined` or `left` is there, not both.
#[derive(Debug, Serialize)]
pub struct PresenceChange {
    /// Where.
    #[serde(flatten)]
    pub subject: Subject,
    /// Who came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joined: Option<PresenceMember>,
    /// Who has gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<PresenceMember>,
    /// Whether the user came with it, or is gone with it: it is the first or the last device.
    pub whole_user: bool,
    /// How many users are there after it.
    pub users: usize,
    /// How many connections are there after it.
    pub connections: usize,
}
