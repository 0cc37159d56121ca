//! A connection to a raw endpoint: bytes of one terminal, without a protocol of ours.

use std::time::Duration;

use bytes::Bytes;
use rejoin_core::{AttachOptions, Receipt, Session};
use rejoin_protocol::{CloseCode, ErrorCode, Role, TerminalSize};
use tokio::time::Instant;

use crate::socket::{
    client::{Client, Flow},
    job::Done,
};

/// How often input is tried again that a program has no room for.
pub(super) const RETRY: Duration = Duration::from_millis(20);

/// The session that a raw endpoint leads to.
#[derive(Debug)]
pub(crate) struct RawAttach {
    pub(crate) session: Session,
    pub(crate) role: Role,
    pub(crate) size: Option<TerminalSize>,
}

/// The state of a connection to a raw endpoint.
#[derive(Debug, Default)]
pub(super) struct Raw {
    /// Input that the program has no room for, and since when.
    typing: Option<(Bytes, Instant)>,
}

impl Raw {
    /// Since when input waits for the program.
    pub(super) fn typing_since(&self) -> Option<Instant> {
        self.typing.as_ref().map(|(_, since)| *since)
    }
}

impl Client {
    /// Attaches the connection to its session.
    pub(crate) fn attach_raw(&mut self, attach: RawAttach) -> Flow {
        let Some(connection) = self.connection().cloned() else {
            return Flow::Close(CloseCode::Normal);
        };
        self.raw = Some(Box::default());
        let RawAttach { session, role, size } = attach;
        let request = AttachOptions { reply_to: None, position: None, role, writer: None, size };
        self.start(
            None,
            Box::pin(async move {
                match session.attach(&connection, request).await {
                    Ok(attachment) => Done::Attached(attachment),
                    // It was closed after it was found.
                    Err(_) => {
                        connection.close(CloseCode::Normal);
                        Done::Handled
                    }
                }
            }),
        );
        Flow::Continue
    }

    /// Whether input waits for the program; meanwhile nothing is read from the client.
    pub(super) fn is_typing(&self) -> bool {
        self.raw.as_ref().is_some_and(|raw| raw.typing.is_some())
    }

    /// Types a message.
    pub(super) fn type_in(&mut self, bytes: &[u8]) -> Flow {
        let bytes = Bytes::copy_from_slice(bytes);
        if self.has_no_room(&bytes)
            && let Some(raw) = &mut self.raw
        {
            raw.typing = Some((bytes, Instant::now()));
            self.has_new_deadline = true;
        }
        Flow::Continue
    }

    /// Tries again to type what waits.
    pub(super) fn type_on(&mut self) {
        let typing = self.raw.as_mut().and_then(|raw| raw.typing.take());
        if let Some((bytes, since)) = typing
            && self.has_no_room(&bytes)
            && let Some(raw) = &mut self.raw
        {
            raw.typing = Some((bytes, since));
        }
    }

    /// Types bytes; returns whether the program has no room for them. Other errors have no
    /// message here: a viewer's input, or one after the end, is ignored.
    fn has_no_room(&self, bytes: &Bytes) -> bool {
        let Some(attachment) = self.attachments.first() else { return false };
        let typed = attachment.input(0, bytes.clone(), Receipt::channel().0);
        typed.is_err_and(|error| error.code == ErrorCode::InputFull)
    }
}
