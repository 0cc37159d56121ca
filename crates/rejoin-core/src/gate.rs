//! The gate of a hub: closes before the state is saved, so that no acknowledged append is lost.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rejoin_protocol::{ErrorCode, message::ErrorBody};

/// A handle that refuses publishes, emits and input once it is closed.
///
/// An append checks the gate under the lock of its stream. The save closes the gate first and
/// takes each stream's lock afterwards, so an append is either saved or refused.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate {
    is_closed: Arc<AtomicBool>,
}

impl Gate {
    pub(crate) fn close(&self) {
        // The save takes the streams' locks after this store: an append sees it or is saved.
        self.is_closed.store(true, Ordering::SeqCst);
    }

    /// Checks that the gate is open.
    ///
    /// # Errors
    /// `overloaded`, which a client may retry.
    pub(crate) fn check(&self) -> Result<(), ErrorBody> {
        if self.is_closed.load(Ordering::SeqCst) {
            return Err(server_is_stopping());
        }

        Ok(())
    }
}

/// Returns the error of a request during a stop.
pub(crate) fn server_is_stopping() -> ErrorBody {
    let sentence = "the server is stopping; try again in a few seconds";
    ErrorBody::new(ErrorCode::Overloaded, sentence)
}
