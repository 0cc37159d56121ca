//! Presence as the server reports it.

use serde::Serialize;

use crate::{DeviceId, DeviceName, Subject, UserId};

/// The members of a subject.
///
/// It answers `presence`, and it replaces the changes that a slow follower missed.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Debug, Serialize)]
pub struct PresenceState {
    /// The topic, session or user.
    #[serde(flatten)]
    pub subject: Subject,
    /// The number of users.
    pub users: usize,
    /// The number of connections.
    pub connections: usize,
    /// The devices, sorted by user, at most 1,000; absent in updates of a large group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<PresenceMember>>,
    /// True if `members` is incomplete.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// A user's device as presence shows it.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PresenceMember {
    /// The user.
    pub user: UserId,
    /// The device; null for connections without a device id.
    pub device: Option<DeviceId>,
    /// The device's name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_name: Option<DeviceName>,
    /// The number of the device's connections; 0 during the grace period after the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<usize>,
}

/// A device that joined or left; exactly one of `joined` and `left` is set.
#[derive(Debug, Serialize)]
pub struct PresenceChange {
    /// The topic, session or user.
    #[serde(flatten)]
    pub subject: Subject,
    /// The device that joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joined: Option<PresenceMember>,
    /// The device that left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<PresenceMember>,
    /// True if it was the user's first device to join or last one to leave.
    pub whole_user: bool,
    /// The number of users after the change.
    pub users: usize,
    /// The number of connections after the change.
    pub connections: usize,
}
