//! Authentication: tokens, and the positions in implicit streams.

use std::fmt;

use serde::Deserialize;

use crate::{DeviceId, DeviceName, Position};

/// The payload of `authenticate`.
#[derive(Deserialize)]
pub struct AuthenticatePayload {
    /// A JWT.
    pub token: String,
    /// The device; a device id in the token takes precedence.
    #[serde(default)]
    pub device_id: Option<DeviceId>,
    /// The device's name for people.
    #[serde(default)]
    pub device_name: Option<DeviceName>,
    /// The last positions in the implicit streams, if the client reconnects.
    #[serde(default)]
    pub positions: ImplicitPositions,
}

/// Positions in the streams that each connection reads without subscribing.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct ImplicitPositions {
    /// The position in the stream of messages to all users.
    #[serde(default, rename = "@all")]
    pub all: Option<Position>,
    /// The position in the stream of messages to the user.
    #[serde(default, rename = "@user")]
    pub user: Option<Position>,
    /// The position in the stream of messages to the device.
    #[serde(default, rename = "@device")]
    pub device: Option<Position>,
}

/// The payload of `refresh`.
#[derive(Deserialize)]
pub struct RefreshPayload {
    /// A JWT of the same user.
    pub token: String,
}

// Not derived: a token must not reach a log through `{:?}`.
impl fmt::Debug for RefreshPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshPayload").finish_non_exhaustive()
    }
}

// Not derived: a token must not reach a log through `{:?}`.
impl fmt::Debug for AuthenticatePayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticatePayload")
            .field("device_id", &self.device_id)
            .finish_non_exhaustive()
    }
}
