//! The attachment of a connection to a session.

use rejoin_protocol::{
    ErrorCode, Role, SessionStatus, Signal, StreamNumber, TerminalSize,
    message::{Attached, ErrorBody, ServerMessage, Window},
};

use crate::{
    access::Authority,
    connection::{Author, Connection},
    outbox::OutboxItem,
    presence::PresenceGuard,
    session::{AttachOptions, Receipt, Session, input::Input},
    stream::Start,
    time::now_ms,
};

/// The attachment of a connection to a session; dropping it leaves the session.
#[derive(Debug)]
pub struct Attachment {
    pub(super) session: Session,
    pub(super) connection: Connection,
    /// The number among the session's viewers.
    pub(super) viewer: u64,
    pub(super) role: Role,
    pub(super) _presence: PresenceGuard,
}

impl Session {
    /// Attaches a connection: queues the answer, the state or the tail, and starts its reader.
    ///
    /// # Errors
    /// `forbidden` if the connection's identity may not have this [role](crate::Identity::role);
    /// `session_ended` if the session was closed or is ending; the error of the connection's
    /// [`Authority::check`].
    pub async fn attach(
        &self,
        connection: &Connection,
        request: AttachOptions,
    ) -> Result<Attachment, ErrorBody> {
        connection.check()?;
        let identity = connection.identity();
        let role = identity.role(self.owner(), self.profile(), Some(request.role));
        role.ok_or(ErrorCode::Forbidden)?;

        // From here on a drop of the future leaves the session.
        let attachment = Attachment {
            viewer: self.add_viewer(connection, &request)?,
            session: self.clone(),
            connection: connection.clone(),
            role: request.role,
            _presence: self.shared.presence.enter(connection),
        };

        let start = self.stream().start(request.position).await;
        let start = start.ok_or(ErrorCode::SessionEnded)?;

        // The answer precedes the stream: the client learns the stream's number from it.
        let attached = self.attached(&attachment, &start, request.window);
        let attached = ServerMessage::Attached(Box::new(attached));
        connection.send(request.reply_to.as_ref(), &attached);

        let stream = self.stream().clone();
        let (preamble, reader, window) = (start.preamble, start.reader, request.window);
        connection.outbox().push(OutboxItem::StartReading { stream, preamble, reader, window });
        start.holders.add(connection.outbox());
        Ok(attachment)
    }

    fn attached(&self, attachment: &Attachment, start: &Start, window: Option<Window>) -> Attached {
        // One turn of the lock, so that the fields belong to one moment.
        let state = self.shared.state.lock();
        let writer = state.viewers.writer(attachment.viewer);
        Attached {
            session: self.id().clone(),
            stream: self.stream().number(),
            role: attachment.role,
            verdict: start.verdict,
            replayed: start.replayed,
            reason: start.reason,
            position: start.position,
            cols: state.size.cols(),
            rows: state.size.rows(),
            // The connection itself makes the session active, as long as it is attached.
            status: match state.lifetime.status() {
                SessionStatus::Idle => SessionStatus::Active,
                status => status,
            },
            title: state.title.clone(),
            input_seq: writer.map_or(0, |writer| state.input.last_seq(writer)),
            size_owner: state.viewers.size_owner(),
            exit: state.lifetime.exit(),
            history_omitted: start.history_omitted,
            window: window.map(Window::bytes),
        }
    }
}

impl Attachment {
    /// Returns the session.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Returns the stream number in binary messages of the session.
    #[must_use]
    pub fn stream(&self) -> StreamNumber {
        self.session.stream().number()
    }

    /// Returns the role.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Types bytes. `receipt` is resolved once they are written.
    ///
    /// `seq` is 0 for input without a number. A number that was typed before is acknowledged and
    /// not typed again.
    ///
    /// # Errors
    /// `read_only`, `session_ended`, `input_full`, `input_out_of_order`, `overloaded` once the hub
    /// stops, or the error of the connection's [`Authority::check`]; nothing was typed.
    pub fn input(&self, seq: u64, bytes: bytes::Bytes, receipt: Receipt) -> Result<(), ErrorBody> {
        self.check_writer()?;
        let session = &self.session;
        let mut guard = session.shared.state.lock();
        let state = &mut *guard;
        if state.lifetime.is_ended() {
            return Err(ErrorCode::SessionEnded.into());
        }

        // With the lock held: the last checks before the effect.
        self.connection.check()?;
        session.shared.context.gate.check()?;

        let author = Author::Connection(self.connection.clone());
        let writer = state.viewers.writer(self.viewer).ok_or(ErrorCode::NotAttached)?;
        state.input.push(writer, seq, Input { bytes, author, receipt })?;

        state.last_activity_at = now_ms();
        state.viewers.record_typing(self.viewer);
        if !state.viewers.owns_size(self.viewer) {
            session.take_size(state, self.viewer);
        }

        Ok(())
    }

    /// Sets the size that this connection can show. It applies while the connection owns the size.
    ///
    /// # Errors
    /// `read_only` for a viewer.
    pub fn resize(&self, size: TerminalSize) -> Result<(), ErrorBody> {
        self.check_writer()?;
        let mut state = self.session.shared.state.lock();
        state.viewers.set_size(self.viewer, size);

        // Without an owner the first resize takes the size.
        if state.viewers.owns_size(self.viewer) || state.viewers.size_owner().is_none() {
            self.session.take_size(&mut state, self.viewer);
        }

        Ok(())
    }

    /// Sends a signal to the program.
    ///
    /// # Errors
    /// `read_only` for a viewer; as [`Session::signal`].
    pub fn signal(&self, signal: Signal) -> Result<(), ErrorBody> {
        self.check_writer()?;
        self.connection.check()?;
        self.session.signal(signal)
    }

    /// Creates a receipt for input of a binary message.
    #[must_use]
    pub fn binary_receipt(&self, seq: u64) -> Receipt {
        Receipt::binary(self.connection.clone(), self.stream(), seq)
    }

    /// Stops the reader and leaves the session.
    pub fn detach(self) {
        // Only the reader is stopped here. The drop of `self` leaves the session.
        self.connection.outbox().push(OutboxItem::StopReading(self.stream()));
    }

    fn check_writer(&self) -> Result<(), ErrorBody> {
        match self.role {
            Role::Viewer => Err(ErrorCode::ReadOnly.into()),
            Role::Writer => Ok(()),
        }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.session.remove_viewer(self.viewer, &self.connection);
    }
}
