//! An attachment: a connection's stay with a session.

use rejoin_protocol::{ErrorCode, Role, Signal, StreamNumber, TerminalSize, message::ErrorBody};

use crate::{
    access::{Author, Authority},
    connection::Connection,
    outbox::OutboxItem,
    presence::Stay,
    session::{Receipt, Session, input::Typed},
    time::now_ms,
};

/// A connection's stay with a session; dropping it leaves.
#[derive(Debug)]
pub struct Attachment {
    pub(super) session: Session,
    pub(super) connection: Connection,
    /// Its number among the session's viewers.
    pub(super) viewer: u64,
    pub(super) role: Role,
    pub(super) _stay: Stay,
}

impl Attachment {
    /// The session.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The stream that binary messages name.
    #[must_use]
    pub fn stream(&self) -> StreamNumber {
        self.session.stream().number()
    }

    /// What it may do.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Types bytes; the receipt is settled once they are written. `seq` 0: not numbered.
    ///
    /// # Errors
    /// `read_only`, `session_ended`, `input_full`, `input_out_of_order`, `overloaded` once the hub
    /// stops, or the error of the connection's [`Authority::check`]; nothing was typed.
    pub fn input(&self, seq: u64, bytes: bytes::Bytes, receipt: Receipt) -> Result<(), ErrorBody> {
        if self.role == Role::Viewer {
            return Err(ErrorCode::ReadOnly.into());
        }
        let session = &self.session;
        let mut state = session.shared.state.lock();
        if state.ended.is_some() {
            return Err(ErrorCode::SessionEnded.into());
        }
        self.connection.check()?;
        session.shared.tools.gate.check()?;
        let author = Author::Connection(self.connection.clone());
        state.input.push(self.viewer, seq, Typed { bytes, author, receipt })?;
        state.last_activity_at = now_ms();
        state.viewers.typed(self.viewer);
        if !state.viewers.owns_size(self.viewer) {
            session.take_size(&mut state, self.viewer);
        }
        Ok(())
    }

    /// Says which size this connection can show; it counts while this connection owns the size.
    ///
    /// # Errors
    /// `read_only` for a viewer.
    pub fn resize(&self, size: TerminalSize) -> Result<(), ErrorBody> {
        if self.role == Role::Viewer {
            return Err(ErrorCode::ReadOnly.into());
        }
        let mut state = self.session.shared.state.lock();
        state.viewers.set_size(self.viewer, size);
        if state.viewers.owns_size(self.viewer) || state.viewers.size_owner().is_none() {
            self.session.take_size(&mut state, self.viewer);
        }
        Ok(())
    }

    /// Sends the program a signal.
    ///
    /// # Errors
    /// `read_only` for a viewer; as [`Session::signal`].
    pub fn signal(&self, signal: Signal) -> Result<(), ErrorBody> {
        if self.role == Role::Viewer {
            return Err(ErrorCode::ReadOnly.into());
        }
        self.connection.check()?;
        self.session.signal(signal)
    }

    /// A receipt for input that came as a binary message.
    #[must_use]
    pub fn binary_receipt(&self, seq: u64) -> Receipt {
        Receipt::binary(self.connection.clone(), self.stream(), seq)
    }

    /// Stops the reading and leaves.
    pub fn detach(self) {
        self.connection.outbox().push(OutboxItem::StopReading(self.stream()));
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.session.leave(self.viewer, &self.connection);
    }
}
