//! The protocol side of one connection: decodes bytes and executes messages.
//!
//! A client belongs to its connection's shard, which calls it from one thread. Dropping it
//! releases everything that the connection holds: its entry in the hub, its presence, its
//! attachments and its permit.

mod deadlines;
mod history;
mod job;
mod login;
mod parsed;
mod rate_limit;
mod raw;
mod request;

use std::{collections::BTreeMap, mem, sync::Arc};

use bytes::Bytes;
use rejoin_core::{
    Attachment, ClientInfo, Connection, Outbox, OutboxItem, Registration, Subscription, now_ms,
};
use rejoin_protocol::{
    CloseCode, ErrorCode, MessageId, SessionId, StreamNumber, Subject, TopicName,
    binary::{BinaryHeader, BinaryKind},
    message::{self, Envelope, ErrorBody, Request, ServerMessage},
};
use rejoin_websocket::{Decoder, Event, Feed, Side};
use tokio::time::Instant;
use tracing::{Span, debug};

use rate_limit::ClientRateLimiter;
use raw::RawInput;

pub(crate) use deadlines::SocketState;
pub(crate) use job::{JobListener, JobResult, Jobs};
pub(crate) use raw::RawAttach;

use crate::{
    log,
    socket::{keepalive::Keepalive, upgrade::Admission},
    state::Shared,
};

/// The client of one WebSocket, from the upgrade to the decision to close.
pub(crate) struct Client {
    shared: Arc<Shared>,
    outbox: Arc<Outbox>,
    decoder: Decoder,
    /// The client negotiated compression (RFC 7692).
    compresses: bool,
    auth: AuthState,
    /// Subscriptions by topic. `None` stands for an implicit stream that does not exist yet,
    /// because nothing was emitted to it.
    subscriptions: BTreeMap<TopicName, Option<Subscription>>,
    attachments: Vec<Attachment>,
    /// Subjects whose presence the client follows.
    following: Vec<(Subject, StreamNumber)>,
    rate_limiter: ClientRateLimiter,
    /// `Some` for a connection to a raw endpoint.
    raw: Option<Box<RawInput>>,
    /// Bytes that were read behind a message whose job is still running.
    unread: Vec<u8>,
    jobs: Jobs,
    /// Acknowledged bytes of attachments, by stream, that the shard has not taken yet.
    parsed: Vec<(StreamNumber, u64)>,
    /// The time at which the current incomplete message began. `None` between messages.
    unfinished_since: Option<Instant>,
    /// The time since which reading is paused because the peer does not read its replies.
    stalled_since: Option<Instant>,
    /// A deadline that may be earlier than the connection's timer was added.
    has_new_deadline: bool,
    span: Span,
    admission: Admission,
}

/// The progress of authentication.
enum AuthState {
    /// The client has not authenticated yet. `handshake` holds the values of the request;
    /// `authenticate` may replace the device.
    Authenticating {
        deadline: Instant,
        handshake: Box<ClientInfo>,
    },
    Authenticated {
        membership: Registration,
        keepalive: Keepalive,
    },
}

/// The effect of a call on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// The connection stays open.
    Continue,
    /// The connection must be closed.
    Close(CloseCode),
}

/// The result of a request. The caller sends an error to the client.
type RequestResult = Result<(), ErrorBody>;

impl Client {
    pub(crate) fn new(
        shared: Arc<Shared>,
        outbox: Arc<Outbox>,
        jobs: Jobs,
        handshake: ClientInfo,
        admission: Admission,
    ) -> Self {
        let deadline = Instant::now() + shared.config.auth_timeout;
        let (span, handshake) = (log::span(&handshake), Box::new(handshake));

        Self {
            decoder: Decoder::new(Side::Server, shared.config.max_message_bytes),
            compresses: false,
            shared,
            outbox,
            auth: AuthState::Authenticating { deadline, handshake },
            subscriptions: BTreeMap::new(),
            attachments: Vec::new(),
            following: Vec::new(),
            rate_limiter: ClientRateLimiter::default(),
            raw: None,
            unread: Vec::new(),
            jobs,
            parsed: Vec::new(),
            unfinished_since: None,
            stalled_since: None,
            has_new_deadline: false,
            span,
            admission,
        }
    }

    /// Accepts and sends compressed messages, as negotiated in the handshake.
    pub(crate) fn enable_deflate(&mut self) {
        self.compresses = true;
        let max = self.shared.config.max_message_bytes;
        self.decoder = Decoder::new(Side::Server, max).with_deflate();
    }

    /// Returns the connection once it is authenticated.
    pub(crate) fn connection(&self) -> Option<&Connection> {
        match &self.auth {
            AuthState::Authenticating { .. } => None,
            AuthState::Authenticated { membership, .. } => Some(membership.connection()),
        }
    }

    /// Returns the span of the connection's log lines.
    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Returns the queue of replies.
    pub(crate) fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Returns the device, address and program of the client, as its request named them.
    pub(crate) fn client_info(&self) -> &ClientInfo {
        match &self.auth {
            AuthState::Authenticating { handshake, .. } => handshake,
            AuthState::Authenticated { membership, .. } => membership.connection().client_info(),
        }
    }

    /// Returns `true` if more messages may be executed now.
    ///
    /// They must wait while a job is running, while raw input waits for the program, or while the
    /// peer does not read its replies.
    pub(crate) fn may_read(&self) -> bool {
        !self.jobs.is_busy()
            && !self.has_pending_input()
            && self.stalled_since.is_none()
            && !self.outbox.is_busy()
    }

    /// Returns `true` if bytes that were already read are waiting to be decoded.
    pub(crate) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Records whether reading is paused because the peer does not read its replies.
    pub(crate) fn set_stalled(&mut self, stalled: bool) {
        if !stalled {
            self.stalled_since = None;
        } else if self.stalled_since.is_none() {
            self.stalled_since = Some(Instant::now());
            self.has_new_deadline = true;
        }
    }

    /// Returns `true` if a deadline has been added since the last call.
    pub(crate) fn take_new_deadline(&mut self) -> bool {
        mem::take(&mut self.has_new_deadline)
    }

    /// Executes the messages in bytes that were just received.
    pub(crate) fn receive(&mut self, bytes: &mut [u8]) -> Flow {
        self.shared.metrics.bytes_received.inc_by(bytes.len() as u64);
        if let Some(connection) = self.connection() {
            connection.record_received();
        }

        let flow = self.decode(bytes);

        if self.decoder.is_idle() {
            self.unfinished_since = None;
        } else if self.unfinished_since.is_none() {
            self.unfinished_since = Some(Instant::now());
            self.has_new_deadline = true;
        }
        flow
    }

    /// Executes the messages in bytes that were received earlier.
    pub(crate) fn receive_unread(&mut self) -> Flow {
        let mut unread = mem::take(&mut self.unread);
        self.decode(&mut unread)
    }

    fn decode(&mut self, bytes: &mut [u8]) -> Flow {
        // Moved out during decoding, because events borrow from the decoder.
        let mut decoder = mem::replace(&mut self.decoder, Decoder::new(Side::Server, 0));
        let flow = self.handle_all(decoder.feed(bytes));
        self.decoder = decoder;
        flow
    }

    fn handle_all(&mut self, mut feed: Feed<'_>) -> Flow {
        // Reading the clock once for all messages of a read saves a call per message. Bytes that
        // wait for a job get a new time.
        let now = now_ms();
        loop {
            // Checked before each message: once another thread has closed the connection, nothing
            // more may be executed.
            if self.outbox.is_closed() {
                return Flow::Continue;
            }

            if !self.may_read() {
                self.unread = feed.rest().to_vec();
                return Flow::Continue;
            }

            let flow = match feed.next() {
                Ok(Some(event)) => self.handle_event(event, now),
                Ok(None) => return Flow::Continue,
                Err(error) => {
                    debug!(%error, "received an invalid frame");
                    Flow::Close(match error.close_code() {
                        1007 => CloseCode::InvalidText,
                        1009 => CloseCode::MessageTooBig,
                        _ => CloseCode::ProtocolViolation,
                    })
                }
            };

            if flow != Flow::Continue {
                return flow;
            }
        }
    }

    /// Executes one message or control frame. `now` is in milliseconds since the Unix epoch.
    fn handle_event(&mut self, event: Event<'_>, now: u64) -> Flow {
        if let Some(connection) = self.connection()
            && let Err(code) = connection.may_act_at(now)
        {
            return self.refuse_expired(code);
        }

        if matches!(event, Event::Text(_) | Event::Binary(_)) {
            // This message is complete. Any bytes after it begin another one with its own deadline.
            self.unfinished_since = None;
        }

        if let Err(exceeded) = self.check_rate(&event) {
            return self.refuse_rate(&event, exceeded);
        }

        match event {
            Event::Text(text) if self.raw.is_some() => self.write_input(text.as_bytes()),
            Event::Binary(bytes) if self.raw.is_some() => self.write_input(bytes),
            Event::Text(text) => self.handle_text(text),
            Event::Binary(bytes) => self.handle_binary(bytes),
            Event::Ping(payload) => {
                self.outbox.push(OutboxItem::Control(rejoin_websocket::pong(payload)));
                Flow::Continue
            }
            Event::Pong(_) => Flow::Continue,
            Event::Close(_) => Flow::Close(CloseCode::Normal),
        }
    }

    fn handle_text(&mut self, text: &str) -> Flow {
        self.shared.metrics.messages_received.inc();
        let envelope = match Envelope::parse(text) {
            Ok(envelope) => envelope,
            Err(error) => return self.send_error(None, error),
        };

        let reply_to = envelope.id.clone();
        let request = match message::parse(&envelope) {
            Ok(request) => request,
            Err(error) => return self.send_error(reply_to.as_ref(), error),
        };

        let result = match (request, self.connection().cloned()) {
            (Some(Request::Authenticate(authenticate)), None) => {
                return self.authenticate(reply_to, authenticate);
            }
            (_, None) => Err(ErrorCode::NotAuthenticated.into()),
            (Some(request), Some(connection)) => {
                self.request(&connection, reply_to.as_ref(), request)
            }
            // Not a built-in type, but the embedding program may have a handler for it.
            (None, Some(connection)) => {
                self.call_handler(&connection, reply_to.as_ref(), &envelope)
            }
        };

        match result {
            Ok(()) => Flow::Continue,
            Err(error) => self.send_error(reply_to.as_ref(), error),
        }
    }

    /// Executes a binary message, which carries numbered input for an attachment.
    fn handle_binary(&mut self, message: &[u8]) -> Flow {
        self.shared.metrics.messages_received.inc();
        let Some(connection) = self.connection() else {
            return Flow::Close(CloseCode::ProtocolError);
        };

        // A binary message has no id that an error could refer to, so the connection is closed.
        let (head, bytes) = match BinaryHeader::read(message) {
            Ok((head, bytes)) if head.kind == BinaryKind::Input => (head, bytes),
            Ok((head, [])) if head.kind == BinaryKind::Parsed => {
                return self.record_parsed(head.stream, head.offset);
            }
            Ok(_) | Err(_) => return Flow::Close(CloseCode::ProtocolError),
        };

        let attachment = self.attachments.iter().find(|a| a.stream() == head.stream);
        let result = match attachment {
            Some(attachment) => {
                let receipt = attachment.binary_receipt(head.offset);
                attachment.input(head.offset, Bytes::copy_from_slice(bytes), receipt)
            }
            None => Err(ErrorCode::NotAttached.into()),
        };

        if let Err(error) = result {
            connection.send_error(None, error);
        }
        Flow::Continue
    }

    /// Returns the attachment to a session.
    ///
    /// # Errors
    /// `not_attached`.
    fn attachment(&self, session: &SessionId) -> Result<&Attachment, ErrorBody> {
        let attachment = self.attachments.iter().find(|a| a.session().id() == session);
        attachment.ok_or_else(|| ErrorCode::NotAttached.into())
    }

    /// Ends the attachment to a session. Returns `true` if the connection was attached.
    fn detach(&mut self, session: &SessionId) -> bool {
        let index = self.attachments.iter().position(|a| a.session().id() == session);
        let attachment = index.map(|index| self.attachments.swap_remove(index));
        attachment.map(Attachment::detach).is_some()
    }

    fn send(&self, reply_to: Option<&MessageId>, message: &ServerMessage) {
        let text = message::text(reply_to, message);
        let wire = (self.shared.hub.encode())(rejoin_core::PayloadKind::Text, &[text.as_bytes()]);
        self.outbox.push(OutboxItem::Message(wire));
    }

    fn send_error(&self, reply_to: Option<&MessageId>, error: ErrorBody) -> Flow {
        self.send(reply_to, &ServerMessage::Error(error));
        Flow::Continue
    }
}
