//! The fields of log lines about connections.

use std::net::IpAddr;

use rejoin_core::Handshake;
use tracing::field::{DisplayValue, display};

/// The device id, if there is one.
pub(crate) fn device(handshake: &Handshake) -> Option<&str> {
    handshake.device.id.as_ref().map(|id| id.as_str())
}

/// The address, if it is known.
pub(crate) fn address(handshake: &Handshake) -> Option<DisplayValue<IpAddr>> {
    handshake.address.map(display)
}
