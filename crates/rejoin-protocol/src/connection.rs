//! The description of a connection in lists.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{ConnectionId, DeviceId, DeviceName, UserId};

/// A connection as lists show it.
///
/// Times are in milliseconds since the Unix epoch.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConnectionInfo {
    /// The connection's id.
    pub id: ConnectionId,
    /// The authenticated user.
    pub user: UserId,
    /// The device that the client named, if any.
    pub device: Option<DeviceId>,
    /// The device's name for people.
    pub device_name: Option<DeviceName>,
    /// The user's role, as the token states it.
    pub role_context: Option<String>,
    /// The client's address.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub address: Option<IpAddr>,
    /// The client's `User-Agent`.
    pub user_agent: Option<String>,
    /// The time at which the connection was opened.
    pub connected_at: u64,
    /// The time at which the server last received bytes from the connection.
    pub last_heard_at: u64,
}
