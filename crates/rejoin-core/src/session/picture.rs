//! The screen, told to those who do not attach.

use bytes::Bytes;
use rejoin_protocol::{ErrorCode, message::ErrorBody};
use tokio::sync::oneshot;

use crate::{
    outside::Screen,
    session::{Session, owner::Command},
};

/// How a screen is told to those who do not attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScreenFormat {
    /// What is visible, a line for each row.
    Text,
    /// Bytes that bring an empty terminal into the same state, history included.
    Ansi,
    /// What is visible, as a piece of HTML.
    Html,
}

impl ScreenFormat {
    pub(super) fn picture(self, screen: &dyn Screen, history_lines: usize) -> Bytes {
        match self {
            Self::Text => screen.text().into(),
            Self::Ansi => screen.snapshot(history_lines).into(),
            Self::Html => screen.html().into(),
        }
    }
}

impl Session {
    /// What the terminal shows now, or showed last.
    ///
    /// # Errors
    /// `session_ended` if the session was closed.
    pub async fn screen(&self, format: ScreenFormat) -> Result<Bytes, ErrorBody> {
        let (reply_tx, reply) = oneshot::channel();
        let ended = || ErrorBody::from(ErrorCode::SessionEnded);
        let asked = self.shared.commands.send(Command::Picture { format, reply_tx });
        asked.await.map_err(|_| ended())?;
        reply.await.map_err(|_| ended())
    }
}
