//! What a connection is, as lists show it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{ConnectionId, DeviceId, DeviceName, UserId};

/// A connection as lists show it; times are milliseconds since the epoch (C1).
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConnectionInfo {
    /// Its id.
    pub id: ConnectionId,
    /// Whose it is.
    pub user: UserId,
    /// The device that it comes from.
    pub device: Option<DeviceId>,
    /// What the person calls the device.
    pub device_name: Option<DeviceName>,
    /// The role in which the user is here, as the token says.
    pub role_context: Option<String>,
    /// The address that it comes from.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub address: Option<IpAddr>,
    /// What the client's program calls itself.
    pub user_agent: Option<String>,
    /// When it was opened.
    pub connected_at: u64,
    /// When something was last read from it.
    pub last_heard_at: u64,
}
