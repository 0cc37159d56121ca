//! Connections to raw endpoints: the output and input of one terminal, without `rejoin.v1`.

use std::time::Duration;

use bytes::Bytes;
use rejoin_core::{AttachOptions, Receipt, Session};
use rejoin_protocol::{CloseCode, ErrorCode, Role, TerminalSize};
use tokio::time::Instant;

use crate::socket::client::{Client, Flow, JobResult};

/// The interval at which input that the program had no room for is retried.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// The session that a raw connection attaches to.
#[derive(Debug)]
pub(crate) struct RawAttach {
    pub(crate) session: Session,
    pub(crate) role: Role,
    pub(crate) size: Option<TerminalSize>,
}

/// The input state of a raw connection.
#[derive(Debug, Default)]
pub(super) struct RawInput {
    /// Input that the program has no room for, and the time of the first attempt to write it.
    ///
    /// A raw client receives no error messages, so its input is retried instead of refused.
    pending: Option<(Bytes, Instant)>,
}

impl RawInput {
    /// Returns the time since which input has been waiting for the program.
    pub(super) fn pending_since(&self) -> Option<Instant> {
        self.pending.as_ref().map(|(_, since)| *since)
    }
}

impl Client {
    /// Makes this a raw connection, and attaches it to its session.
    pub(crate) fn attach_raw(&mut self, attach: RawAttach) -> Flow {
        let Some(connection) = self.connection().cloned() else {
            return Flow::Close(CloseCode::Normal);
        };
        // Boxed, because every connection has the field but few are raw.
        self.raw = Some(Box::default());

        let RawAttach { session, role, size } = attach;
        // Has neither a writer nor a window: a raw client does not number its input, and does not
        // acknowledge output.
        let request = AttachOptions {
            reply_to: None,
            position: None,
            role,
            writer: None,
            size,
            window: None,
        };
        self.start_job(
            None,
            Box::pin(async move {
                match session.attach(&connection, request).await {
                    Ok(attachment) => JobResult::Attached(attachment),
                    // The session was closed after the upgrade found it.
                    Err(_) => {
                        connection.close(CloseCode::Normal);
                        JobResult::Handled
                    }
                }
            }),
        );
        Flow::Continue
    }

    /// Returns `true` if input is waiting for the program. Nothing is read from the client in the
    /// meantime.
    pub(super) fn has_pending_input(&self) -> bool {
        self.raw.as_ref().is_some_and(|raw| raw.pending.is_some())
    }

    /// Writes the payload of a message to the program, or keeps it for a retry.
    pub(super) fn write_input(&mut self, bytes: &[u8]) -> Flow {
        // Copied, because the slice is part of the read buffer, which the next read overwrites.
        let bytes = Bytes::copy_from_slice(bytes);
        if self.is_input_full(&bytes)
            && let Some(raw) = &mut self.raw
        {
            // At most one input is pending: nothing is read from the client until it is written.
            raw.pending = Some((bytes, Instant::now()));
            self.has_new_deadline = true;
        }

        Flow::Continue
    }

    /// Retries the pending input.
    pub(super) fn retry_input(&mut self) {
        let pending = self.raw.as_mut().and_then(|raw| raw.pending.take());
        if let Some((bytes, since)) = pending
            && self.is_input_full(&bytes)
            && let Some(raw) = &mut self.raw
        {
            // Keeps the time of the first attempt, so that retries do not extend the deadline.
            raw.pending = Some((bytes, since));
        }
    }

    /// Writes input to the program. Returns `true` if the program has no room for it.
    ///
    /// Ignores all other errors, which a raw client cannot receive: input from a viewer, and input
    /// after the program has ended.
    fn is_input_full(&self, bytes: &Bytes) -> bool {
        let Some(attachment) = self.attachments.first() else { return false };

        let written = attachment.input(0, bytes.clone(), Receipt::channel().0);
        written.is_err_and(|error| error.code == ErrorCode::InputFull)
    }
}
