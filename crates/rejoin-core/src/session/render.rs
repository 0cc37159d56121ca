//! The screen, written for those who do not attach.

use std::sync::Arc;

use rejoin_protocol::{ErrorCode, message::ErrorBody};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::{
    backend::{ScreenFormat, ScreenPieces},
    session::{Session, owner::Command},
};

/// Screens of one session that are being written at the same time: each is a copy.
pub(super) const EXPORTS: usize = 4;

/// A screen that is being written, piece by piece.
pub struct ScreenExport {
    pieces: ScreenPieces,
    _permit: OwnedSemaphorePermit,
}

impl Iterator for ScreenExport {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        self.pieces.next()
    }
}

impl Session {
    /// What the terminal shows now, or showed last, in pieces of about 32 KiB.
    ///
    /// # Errors
    /// `session_ended` if the session was closed; `overloaded` while four others are written.
    pub async fn screen(&self, format: ScreenFormat) -> Result<ScreenExport, ErrorBody> {
        let exports: Arc<Semaphore> = Arc::clone(&self.shared.exports);
        let permit = exports.try_acquire_owned().map_err(|_| ErrorCode::Overloaded)?;
        let (reply_tx, reply) = oneshot::channel();
        let ended = || ErrorBody::from(ErrorCode::SessionEnded);
        let asked = self.shared.commands.send(Command::Export { format, reply_tx });
        asked.await.map_err(|_| ended())?;
        let pieces = reply.await.map_err(|_| ended())?;
        Ok(ScreenExport { pieces, _permit: permit })
    }
}

impl std::fmt::Debug for ScreenExport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScreenExport").finish_non_exhaustive()
    }
}
