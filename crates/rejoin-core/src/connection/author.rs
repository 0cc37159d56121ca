//! The author of input that waits for a terminal.

use std::sync::Arc;

use crate::{access::Authority, connection::Connection};

/// The author of input that waits for a terminal.
#[derive(Clone, Debug)]
pub enum Author {
    /// The server or the embedding program.
    Server,
    /// A connection.
    Connection(Connection),
    /// A request without a connection.
    Request(Arc<dyn Authority>),
}

impl Author {
    /// Returns `true` while the input may be written.
    ///
    /// The input of a connection that ended by itself is still written: a user may type and close
    /// the tab. The input of a connection whose rights were revoked is not.
    #[must_use]
    pub fn may_write(&self) -> bool {
        match self {
            Self::Server => true,
            Self::Connection(connection) => connection.has_rights(),
            Self::Request(authority) => authority.check().is_ok(),
        }
    }
}
