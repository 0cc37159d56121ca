//! The gate of a hub: closed before its state is saved, so that nothing acknowledged is lost.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rejoin_protocol::{ErrorCode, message::ErrorBody};

/// Refuses publishes, emits and input once it is closed; a handle.
///
/// An append checks it under the lock of its stream, and the save takes each stream's lock after
/// it has closed the gate. So an append is either in the save or refused.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate {
    is_closed: Arc<AtomicBool>,
}

impl Gate {
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }

    /// Checks that the gate is open.
    ///
    /// # Errors
    /// `overloaded`, which a client may retry.
    pub(crate) fn check(&self) -> Result<(), ErrorBody> {
        if self.is_closed.load(Ordering::SeqCst) {
            let sentence = "the server is stopping; try again with the next one";
            return Err(ErrorBody::new(ErrorCode::Overloaded, sentence));
        }
        Ok(())
    }
}
