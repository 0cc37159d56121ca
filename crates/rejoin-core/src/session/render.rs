//! The screen of a session, exported for callers that do not attach.

use std::{fmt, sync::Arc};

use rejoin_protocol::{ErrorCode, message::ErrorBody};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::{
    backend::{ScreenFormat, ScreenPieces},
    session::{Session, owner::Command},
};

/// An exported screen, piece by piece. Counts as an export in progress until it is dropped.
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
    /// Exports the current or last screen, in pieces of about 32 KiB.
    ///
    /// # Errors
    /// `session_ended` if the session was closed; `overloaded` during four other exports.
    pub async fn screen(&self, format: ScreenFormat) -> Result<ScreenExport, ErrorBody> {
        let exports = Arc::clone(&self.shared.exports);

        // Held by the export: a slow download counts until it ends.
        let permit = exports.try_acquire_owned().map_err(|_| ErrorCode::Overloaded)?;

        let (reply_tx, reply) = oneshot::channel();
        let command = Command::Export { format, reply_tx };
        let ended = || ErrorBody::from(ErrorCode::SessionEnded);
        self.shared.commands.send(command).await.map_err(|_| ended())?;
        let pieces = reply.await.map_err(|_| ended())?;
        Ok(ScreenExport { pieces, _permit: permit })
    }
}

impl fmt::Debug for ScreenExport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScreenExport").finish_non_exhaustive()
    }
}
