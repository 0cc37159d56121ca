//! The reading side of one connection.

use std::{collections::BTreeMap, mem, ops::ControlFlow, sync::Arc, time::Duration};

use bytes::Bytes;
use rejoin_core::{Attachment, Connection, Handshake, Item, Membership, Outbox, Subscription};
use rejoin_protocol::{
    CloseCode, ErrorCode, MessageId, SessionId, StreamNumber, Subject, TopicName,
    binary::{BinaryKind, Head},
    message::{self, Envelope, ErrorBody, Request, ServerMessage},
};
use rejoin_websocket::{Decoder, Event, Feed, Role};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout, timeout_at},
};
use tracing::{debug, info};

use crate::{
    gateway::Shared,
    net::ReadHalf,
    socket::{
        pace::{Pace, TooFast},
        scratch,
    },
};

/// How long a peer may go on sending after the server has said goodbye.
const LINGER: Duration = Duration::from_secs(5);

/// How long a peer may leave its replies unread while nothing more is read from it.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How long a client may take for one message, from its first byte to its last.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// One client, from its first byte to its last.
pub(super) struct Client {
    pub(super) shared: Arc<Shared>,
    socket: ReadHalf,
    pub(super) outbox: Arc<Outbox>,
    /// Taken while it decodes.
    decoder: Decoder,
    /// There once it is authenticated; dropping it leaves the hub.
    pub(super) membership: Option<Membership>,
    /// What is known of it from the request; the device may be named later.
    pub(super) handshake: Handshake,
    /// Nothing for an own stream to which nothing was emitted yet.
    pub(super) subscriptions: BTreeMap<TopicName, Option<Subscription>>,
    pub(super) attachments: Vec<Attachment>,
    /// Whose presence it is told.
    pub(super) following: Vec<(Subject, StreamNumber)>,
    pace: Pace,
    /// It speaks no protocol of ours: what it sends is typed.
    pub(super) is_plain: bool,
    /// When the message began whose end has not come; since before it was authenticated, too.
    unfinished_since: Option<Instant>,
    /// Given back when the connection has ended.
    _permit: OwnedSemaphorePermit,
}

/// Whether to read on.
pub(super) type Flow = ControlFlow<CloseCode>;

/// What became of a request that is answered here; an error is answered by the caller.
pub(super) type Answer = Result<(), ErrorBody>;

impl Client {
    pub(super) fn new(
        shared: Arc<Shared>,
        socket: ReadHalf,
        outbox: Arc<Outbox>,
        handshake: Handshake,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            socket,
            outbox,
            decoder: Decoder::new(Role::Server, shared.config.max_message_bytes),
            shared,
            membership: None,
            handshake,
            subscriptions: BTreeMap::new(),
            attachments: Vec::new(),
            following: Vec::new(),
            pace: Pace::default(),
            is_plain: false,
            unfinished_since: None,
            _permit: permit,
        }
    }

    /// Takes compressed messages, as it was agreed.
    pub(super) fn inflate(&mut self) {
        self.decoder = self.fresh_decoder().with_deflate();
    }

    fn fresh_decoder(&self) -> Decoder {
        Decoder::new(Role::Server, self.shared.config.max_message_bytes)
    }

    /// Takes what came with the request, and waits until the client is authenticated.
    ///
    /// `flow` says whether it is refused already.
    pub(super) async fn begin(&mut self, mut flow: Flow, first_bytes: &[u8]) -> Flow {
        let deadline = Instant::now() + self.shared.config.auth_timeout;
        if flow.is_continue() {
            flow = self.take(&mut first_bytes.to_vec()).await;
        }
        while flow.is_continue() && self.membership.is_none() {
            // A peer that always has something to say would never let the time-out be looked at.
            if Instant::now() >= deadline {
                flow = self.time_out();
                break;
            }
            flow = match timeout_at(deadline, scratch::read(&mut self.socket)).await {
                Ok(Ok(mut bytes)) if !bytes.is_empty() => self.take(&mut bytes).await,
                Ok(_) => Flow::Break(CloseCode::Normal),
                Err(_) => self.time_out(),
            };
        }
        if let Flow::Break(code) = flow {
            self.leave(code).await;
        }
        flow
    }

    /// Reads until the client leaves or must be let go.
    ///
    /// What is only needed while something happens is boxed: most of the time nothing does, and
    /// there are many of these.
    pub(super) async fn run(mut self: Box<Self>) {
        let code = loop {
            let read = match self.unfinished_since {
                None => scratch::read(&mut self.socket).await,
                Some(since) => {
                    let read = scratch::read(&mut self.socket);
                    match Box::pin(timeout_at(since + MESSAGE_TIMEOUT, read)).await {
                        Ok(read) => read,
                        Err(_) => break CloseCode::TooSlow,
                    }
                }
            };
            match read {
                Ok(mut bytes) if !bytes.is_empty() => {
                    if let Flow::Break(code) = Box::pin(self.hear(&mut bytes)).await {
                        break code;
                    }
                }
                // The end, or a broken line: nobody hears a goodbye.
                Ok(_) | Err(_) => break CloseCode::Normal,
            }
        };
        Box::pin(self.leave(code)).await;
    }

    /// Takes what has arrived from a client that is let in.
    async fn hear(&mut self, bytes: &mut [u8]) -> Flow {
        if let Some(connection) = self.connection() {
            connection.hear();
        }
        self.take(bytes).await?;
        // A peer that always sends a little would never let the time-out be looked at.
        match self.unfinished_since {
            Some(since) if since.elapsed() >= MESSAGE_TIMEOUT => Flow::Break(CloseCode::TooSlow),
            _ => Flow::Continue(()),
        }
    }

    async fn leave(&mut self, code: CloseCode) {
        if let Some(connection) = self.connection() {
            let (id, user) = (connection.id(), connection.user());
            let Handshake { device, address, .. } = connection.handshake();
            info!(%id, %user, device = ?device.id, ?address, ?code, "disconnected");
        }
        self.attachments.clear();
        self.subscriptions.clear();
        self.membership = None;
        let peer_ended = code == CloseCode::Normal && !self.outbox.is_closed();
        self.outbox.push(Item::Close(code.into()));
        if peer_ended {
            return;
        }
        // Reading on lets the goodbye arrive: a close with unread bytes would reset the line.
        let ended = async {
            while scratch::read(&mut self.socket).await.is_ok_and(|bytes| !bytes.is_empty()) {}
        };
        let _ = timeout(LINGER, ended).await;
    }

    /// Takes what has arrived.
    async fn take(&mut self, bytes: &mut [u8]) -> Flow {
        let metrics = self.shared.hub.metrics();
        metrics.bytes_received.inc_by(bytes.len() as u64);
        let mut decoder = mem::replace(&mut self.decoder, Decoder::new(Role::Server, 0));
        let flow = self.take_events(decoder.feed(bytes)).await;
        self.decoder = decoder;
        if self.decoder.is_idle() {
            self.unfinished_since = None;
        } else {
            self.unfinished_since.get_or_insert_with(Instant::now);
        }
        flow
    }

    async fn take_events(&mut self, mut feed: Feed<'_>) -> Flow {
        loop {
            let event = match feed.next() {
                Ok(Some(event)) => event,
                Ok(None) => return Flow::Continue(()),
                Err(error) => {
                    debug!(%error, "a broken frame");
                    return Flow::Break(match error.close_code() {
                        1007 => CloseCode::InvalidText,
                        1009 => CloseCode::MessageTooBig,
                        _ => CloseCode::ProtocolViolation,
                    });
                }
            };
            if matches!(event, Event::Text(_) | Event::Binary(_)) {
                // What is unfinished after this is another message.
                self.unfinished_since = None;
            }
            match self.admit(&event) {
                Ok(()) => match event {
                    Event::Text(text) if self.is_plain => self.type_in(text.as_bytes()).await?,
                    Event::Binary(bytes) if self.is_plain => self.type_in(bytes).await?,
                    Event::Text(text) => self.text(text).await?,
                    Event::Binary(bytes) => self.binary(bytes)?,
                    Event::Ping(payload) => {
                        self.outbox.push(Item::Message(rejoin_websocket::pong(payload)));
                    }
                    Event::Pong(_) => {}
                    Event::Close(_) => return Flow::Break(CloseCode::Normal),
                },
                Err(too_fast) => self.refuse(&event, too_fast)?,
            }
            if self.outbox.is_closed() {
                // The server has said goodbye: what comes now is not answered.
                return Flow::Break(CloseCode::Normal);
            }
            if self.outbox.is_busy() && timeout(PATIENCE, self.outbox.relief()).await.is_err() {
                return Flow::Break(CloseCode::TooSlow);
            }
        }
    }

    fn admit(&mut self, event: &Event<'_>) -> Result<(), TooFast> {
        let rates = &self.shared.config.rates;
        match event {
            Event::Text(text) => self.pace.message(rates, text.len()),
            Event::Binary(bytes) => self.pace.message(rates, bytes.len()),
            Event::Ping(_) | Event::Pong(_) => self.pace.control(),
            Event::Close(_) => Ok(()),
        }
    }

    /// Answers what came too fast.
    fn refuse(&self, event: &Event<'_>, too_fast: TooFast) -> Flow {
        let metrics = self.shared.hub.metrics();
        match (too_fast, event) {
            (TooFast::LetGo { what }, _) => {
                metrics.rate_limited(what);
                Flow::Break(CloseCode::RateLimited)
            }
            // Who floods with pings gets no pongs.
            (TooFast::Refuse { what, .. }, Event::Ping(_) | Event::Pong(_)) => {
                metrics.rate_limited(what);
                Flow::Continue(())
            }
            (TooFast::Refuse { what, wait }, _) => {
                metrics.rate_limited(what);
                let reply_to = match event {
                    Event::Text(text) => {
                        Envelope::parse(text).ok().and_then(|envelope| envelope.id)
                    }
                    _ => None,
                };
                let sentence = if wait == Duration::MAX {
                    format!("the message alone is beyond the limit of {what} in a second")
                } else {
                    let wait = wait.as_millis() + 1;
                    format!("too many {what} in a second; try again in {wait} ms")
                };
                let error = ErrorBody::new(ErrorCode::RateLimited, sentence);
                self.send(reply_to.as_ref(), &ServerMessage::Error(error));
                Flow::Continue(())
            }
        }
    }

    async fn text(&mut self, text: &str) -> Flow {
        self.shared.hub.metrics().messages_received.inc();
        let envelope = match Envelope::parse(text) {
            Ok(envelope) => envelope,
            Err(error) => {
                self.send(None, &ServerMessage::Error(error));
                return Flow::Continue(());
            }
        };
        let reply_to = envelope.id.clone();
        let request = match message::parse(&envelope) {
            Ok(request) => request,
            Err(error) => {
                self.send(reply_to.as_ref(), &ServerMessage::Error(error));
                return Flow::Continue(());
            }
        };
        let result = match (request, self.connection().cloned()) {
            (Some(Request::Authenticate(authenticate)), None) => {
                return self.authenticate(reply_to.as_ref(), authenticate).await;
            }
            (_, None) => Err(ErrorCode::NotAuthenticated.into()),
            (Some(request), Some(connection)) => {
                self.request(&connection, reply_to.as_ref(), request).await
            }
            (None, Some(connection)) => {
                self.custom(&connection, reply_to.as_ref(), &envelope).await
            }
        };
        if let Err(error) = result {
            self.send(reply_to.as_ref(), &ServerMessage::Error(error));
        }
        Flow::Continue(())
    }

    fn binary(&mut self, message: &[u8]) -> Flow {
        self.shared.hub.metrics().messages_received.inc();
        let Some(connection) = self.connection() else {
            return Flow::Break(CloseCode::ProtocolError);
        };
        let (head, bytes) = match Head::read(message) {
            Ok((head, bytes)) if head.kind == BinaryKind::Input => (head, bytes),
            Ok(_) | Err(_) => return Flow::Break(CloseCode::ProtocolError),
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
        Flow::Continue(())
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

    pub(super) fn connection(&self) -> Option<&Connection> {
        self.membership.as_ref().map(Membership::connection)
    }

    pub(super) fn send(&self, reply_to: Option<&MessageId>, message: &ServerMessage) {
        let text = message::text(reply_to, message);
        let wire = (self.shared.hub.encode())(rejoin_core::Kind::Text, &[text.as_bytes()]);
        self.outbox.push(Item::Message(wire));
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.outbox.abandon();
    }
}
