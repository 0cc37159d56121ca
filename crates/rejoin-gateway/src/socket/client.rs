//! The protocol side of one connection: bytes in, effects out.
//!
//! A client belongs to its connection's shard, which calls it from one thread. Dropping it
//! releases all that the connection holds: its place in the hub, its presence, its attachments
//! and its permit.

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
use tracing::{Instrument, Span, debug};

use crate::{
    log,
    shard::Keepalive,
    socket::{
        job::{Done, Job, Jobs},
        pace::Pace,
        raw::Raw,
        upgrade::Room,
    },
    state::Shared,
};

/// One client, from the upgrade to the decision to close.
pub(crate) struct Client {
    pub(super) shared: Arc<Shared>,
    pub(super) outbox: Arc<Outbox>,
    decoder: Decoder,
    pub(super) stage: Stage,
    /// `None` for an implicit stream to which nothing was emitted yet.
    pub(super) subscriptions: BTreeMap<TopicName, Option<Subscription>>,
    pub(super) attachments: Vec<Attachment>,
    /// Subjects whose presence it follows.
    pub(super) following: Vec<(Subject, StreamNumber)>,
    pub(super) pace: Pace,
    /// There for a connection to a raw endpoint.
    pub(super) raw: Option<Box<Raw>>,
    /// Bytes that were read behind a message that is still being handled.
    unread: Vec<u8>,
    pub(super) jobs: Jobs,
    /// When the message began whose end has not come.
    pub(super) unfinished_since: Option<Instant>,
    /// Since when nothing is read because the peer leaves its replies unread.
    pub(super) stalled_since: Option<Instant>,
    /// One of the deadlines above is new.
    pub(super) has_new_deadline: bool,
    span: Span,
    pub(super) room: Room,
}

/// How far a client has come.
pub(super) enum Stage {
    /// The request says what the handshake holds; `authenticate` may name the device.
    Authenticating {
        deadline: Instant,
        handshake: Box<ClientInfo>,
    },
    Authenticated {
        membership: Registration,
        keepalive: Keepalive,
    },
}

/// What follows from bytes, from a job, or from the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Go on.
    Continue,
    /// Close the connection.
    Close(CloseCode),
}

/// The result of a request that is answered here; the caller sends the error.
pub(super) type Answer = Result<(), ErrorBody>;

impl Client {
    pub(crate) fn new(
        shared: Arc<Shared>,
        outbox: Arc<Outbox>,
        jobs: Jobs,
        handshake: ClientInfo,
        room: Room,
    ) -> Self {
        let deadline = Instant::now() + shared.config.auth_timeout;
        let (span, handshake) = (log::span(&handshake), Box::new(handshake));
        Self {
            decoder: Decoder::new(Side::Server, shared.config.max_message_bytes),
            shared,
            outbox,
            stage: Stage::Authenticating { deadline, handshake },
            subscriptions: BTreeMap::new(),
            attachments: Vec::new(),
            following: Vec::new(),
            pace: Pace::default(),
            raw: None,
            unread: Vec::new(),
            jobs,
            unfinished_since: None,
            stalled_since: None,
            has_new_deadline: false,
            span,
            room,
        }
    }

    /// Takes compressed messages, as it was agreed.
    pub(crate) fn inflate(&mut self) {
        let max = self.shared.config.max_message_bytes;
        self.decoder = Decoder::new(Side::Server, max).with_deflate();
    }

    /// The connection, once it is authenticated.
    pub(crate) fn connection(&self) -> Option<&Connection> {
        match &self.stage {
            Stage::Authenticating { .. } => None,
            Stage::Authenticated { membership, .. } => Some(membership.connection()),
        }
    }

    /// The span of its log lines.
    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// The queue of its replies.
    pub(crate) fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// What is known of the client from its request.
    pub(crate) fn client_info(&self) -> &ClientInfo {
        match &self.stage {
            Stage::Authenticating { handshake, .. } => handshake,
            Stage::Authenticated { membership, .. } => membership.connection().client_info(),
        }
    }

    /// Whether more bytes may be read: no message is being handled, and replies are read.
    pub(crate) fn may_read(&self) -> bool {
        !self.jobs.is_busy()
            && !self.is_typing()
            && self.stalled_since.is_none()
            && !self.outbox.is_busy()
    }

    /// Whether bytes wait that were read already.
    pub(crate) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Notes whether reading waits for the peer to take its replies.
    pub(crate) fn set_stalled(&mut self, stalled: bool) {
        if !stalled {
            self.stalled_since = None;
        } else if self.stalled_since.is_none() {
            self.stalled_since = Some(Instant::now());
            self.has_new_deadline = true;
        }
    }

    /// Whether it has a deadline that it did not have at the last call.
    pub(crate) fn take_new_deadline(&mut self) -> bool {
        mem::take(&mut self.has_new_deadline)
    }

    /// Handles bytes that have arrived.
    pub(crate) fn receive(&mut self, bytes: &mut [u8]) -> Flow {
        self.shared.hub.metrics().bytes_received.inc_by(bytes.len() as u64);
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

    /// Goes on with bytes that were read before.
    pub(crate) fn receive_unread(&mut self) -> Flow {
        let mut unread = mem::take(&mut self.unread);
        self.decode(&mut unread)
    }

    fn decode(&mut self, bytes: &mut [u8]) -> Flow {
        // Taken while it decodes, because events borrow from it.
        let mut decoder = mem::replace(&mut self.decoder, Decoder::new(Side::Server, 0));
        let flow = self.handle_all(decoder.feed(bytes));
        self.decoder = decoder;
        flow
    }

    fn handle_all(&mut self, mut feed: Feed<'_>) -> Flow {
        // One look at the clock for the messages of one read; what waits looks again.
        let now = now_ms();
        loop {
            // Before each message: a connection that was closed meanwhile executes nothing more.
            if self.outbox.is_closed() {
                return Flow::Continue;
            }
            if !self.may_read() {
                self.unread = feed.rest().to_vec();
                return Flow::Continue;
            }
            let flow = match feed.next() {
                Ok(Some(event)) => self.handle(event, now),
                Ok(None) => return Flow::Continue,
                Err(error) => {
                    debug!(%error, "a broken frame");
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

    fn handle(&mut self, event: Event<'_>, now: u64) -> Flow {
        if let Some(connection) = self.connection()
            && let Err(code) = connection.may_act_at(now)
        {
            return self.end_token(code);
        }
        if matches!(event, Event::Text(_) | Event::Binary(_)) {
            // What is unfinished after this is another message.
            self.unfinished_since = None;
        }
        if let Err(too_fast) = self.admit(&event) {
            return self.refuse(&event, too_fast);
        }
        match event {
            Event::Text(text) if self.raw.is_some() => self.type_in(text.as_bytes()),
            Event::Binary(bytes) if self.raw.is_some() => self.type_in(bytes),
            Event::Text(text) => self.text(text),
            Event::Binary(bytes) => self.binary(bytes),
            Event::Ping(payload) => {
                self.outbox.push(OutboxItem::Control(rejoin_websocket::pong(payload)));
                Flow::Continue
            }
            Event::Pong(_) => Flow::Continue,
            Event::Close(_) => Flow::Close(CloseCode::Normal),
        }
    }

    fn text(&mut self, text: &str) -> Flow {
        self.shared.hub.metrics().messages_received.inc();
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
            (None, Some(connection)) => self.custom(&connection, reply_to.as_ref(), &envelope),
        };
        match result {
            Ok(()) => Flow::Continue,
            Err(error) => self.send_error(reply_to.as_ref(), error),
        }
    }

    fn binary(&mut self, message: &[u8]) -> Flow {
        self.shared.hub.metrics().messages_received.inc();
        let Some(connection) = self.connection() else {
            return Flow::Close(CloseCode::ProtocolError);
        };
        let (head, bytes) = match BinaryHeader::read(message) {
            Ok((head, bytes)) if head.kind == BinaryKind::Input => (head, bytes),
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

    /// The attachment to a session.
    pub(super) fn attachment(&self, session: &SessionId) -> Result<&Attachment, ErrorBody> {
        let attachment = self.attachments.iter().find(|a| a.session().id() == session);
        attachment.ok_or_else(|| ErrorCode::NotAttached.into())
    }

    /// Leaves a session, if it is attached.
    pub(super) fn detach(&mut self, session: &SessionId) -> bool {
        let index = self.attachments.iter().position(|a| a.session().id() == session);
        let attachment = index.map(|index| self.attachments.swap_remove(index));
        attachment.map(Attachment::detach).is_some()
    }

    /// Runs a job; no other message is handled before its end.
    pub(super) fn start(&mut self, reply_to: Option<&MessageId>, job: Job) {
        let job = Box::pin(job.instrument(self.span.clone()));
        self.jobs.start(&self.shared.shutdown, &self.outbox, reply_to, job);
    }

    /// Goes on after the end of its job.
    pub(crate) fn finish(&mut self, done: Done) -> Flow {
        self.jobs.finish();
        match done {
            Done::Handled => Flow::Continue,
            Done::Attached(attachment) => {
                self.attachments.push(attachment);
                Flow::Continue
            }
            Done::Authenticated { reply_to, message, result } => {
                self.authenticated(reply_to.as_ref(), message, result)
            }
            Done::Refreshed { reply_to, result } => self.refreshed(reply_to.as_ref(), result),
            Done::Failed { reply_to } => {
                self.send_error(reply_to.as_ref(), ErrorCode::Internal.into())
            }
        }
    }

    pub(super) fn send(&self, reply_to: Option<&MessageId>, message: &ServerMessage) {
        let text = message::text(reply_to, message);
        let wire = (self.shared.hub.encode())(rejoin_core::PayloadKind::Text, &[text.as_bytes()]);
        self.outbox.push(OutboxItem::Message(wire));
    }

    pub(super) fn send_error(&self, reply_to: Option<&MessageId>, error: ErrorBody) -> Flow {
        self.send(reply_to, &ServerMessage::Error(error));
        Flow::Continue
    }
}
