//! The bound of the screens that are copied for checkpoints.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::backend::ScreenPieces;

/// The maximum number of copies. One is written while the next is made.
const COPIES: usize = 2;

/// The slots of the copies that all sessions make of their screens.
///
/// A checkpoint is written from a copy, which takes as much memory as the screen and its history.
#[derive(Clone, Debug)]
pub(crate) struct CheckpointSlots {
    slots: Arc<Semaphore>,
}

/// A slot, free again when it is dropped.
#[derive(Debug)]
pub(super) struct CheckpointSlot {
    /// `None` only if the semaphore is closed, which never happens.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Default for CheckpointSlots {
    fn default() -> Self {
        Self { slots: Arc::new(Semaphore::new(COPIES)) }
    }
}

impl CheckpointSlots {
    /// Waits for a slot. Cancel safe, but a caller that waits again has lost its place.
    pub(super) async fn slot(&self) -> CheckpointSlot {
        CheckpointSlot { _permit: Arc::clone(&self.slots).acquire_owned().await.ok() }
    }
}

impl CheckpointSlot {
    /// Returns the pieces, which hold the slot until they are dropped.
    pub(super) fn hold(self, mut pieces: ScreenPieces) -> ScreenPieces {
        Box::new(std::iter::from_fn(move || {
            let _slot = &self;
            pieces.next()
        }))
    }
}
