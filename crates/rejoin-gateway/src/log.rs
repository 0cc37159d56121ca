//! The span and the fields of log lines about connections.

use std::net::IpAddr;

use rejoin_core::ClientInfo;
use tracing::{
    Span, debug_span,
    field::{DisplayValue, Empty, display},
};

/// Returns the client's device id.
pub(crate) fn device(handshake: &ClientInfo) -> Option<&str> {
    handshake.device.id.as_ref().map(|id| id.as_str())
}

/// Returns the client's address.
pub(crate) fn address(handshake: &ClientInfo) -> Option<DisplayValue<IpAddr>> {
    handshake.address.map(display)
}

/// Returns the span for a connection's log lines. Its user is recorded after authentication.
///
/// The span has the level `debug`, because an enabled span costs each idle connection about 450
/// bytes. Log lines at higher levels name the connection themselves.
pub(crate) fn span(handshake: &ClientInfo) -> Span {
    let address = address(handshake);
    // Has no parent: the span must not belong to the upgrade request.
    debug_span!(parent: None, "connection", address, id = Empty, user = Empty, device = Empty)
}
