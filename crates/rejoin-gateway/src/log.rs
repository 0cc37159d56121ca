//! The span and the fields of log lines about connections.

use std::net::IpAddr;

use rejoin_core::ClientInfo;
use tracing::{
    Span, debug_span,
    field::{DisplayValue, Empty, display},
};

/// The device id, if there is one.
pub(crate) fn device(handshake: &ClientInfo) -> Option<&str> {
    handshake.device.id.as_ref().map(|id| id.as_str())
}

/// The address, if it is known.
pub(crate) fn address(handshake: &ClientInfo) -> Option<DisplayValue<IpAddr>> {
    handshake.address.map(display)
}

/// The span of a connection's log lines; its user is recorded at the log-in.
///
/// At `debug`, because a span that is kept takes about 450 bytes of each idle connection. Lines
/// at higher levels name the connection themselves.
pub(crate) fn span(handshake: &ClientInfo) -> Span {
    let address = address(handshake);
    debug_span!(parent: None, "connection", address, id = Empty, user = Empty, device = Empty)
}
