//! The span and the fields of log lines about connections.

use std::net::IpAddr;

use rejoin_core::ClientInfo;
use tracing::{
    Span, debug_span,
    field::{DisplayValue, Empty, display},
};

/// Returns the device id.
pub(crate) fn device(handshake: &ClientInfo) -> Option<&str> {
    handshake.device.id.as_ref().map(|id| id.as_str())
}

/// Returns the address.
pub(crate) fn address(handshake: &ClientInfo) -> Option<DisplayValue<IpAddr>> {
    handshake.address.map(display)
}

/// Returns the span of a connection's log lines. Its user is recorded after authentication.
///
/// At `debug`: an enabled span takes about 450 bytes of each idle connection. Log lines at higher
/// levels name the connection themselves.
pub(crate) fn span(handshake: &ClientInfo) -> Span {
    let address = address(handshake);
    // Without a parent: the span must not belong to the request of the upgrade.
    debug_span!(parent: None, "connection", address, id = Empty, user = Empty, device = Empty)
}
