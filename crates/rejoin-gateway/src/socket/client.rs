//! The reading side of one connection.

use std::{collections::BTreeMap, mem, ops::ControlFlow, sync::Arc, time::Duration};

use bytes::Bytes;
use rejoin_core::{Attachment, Connection, Device, Identity, Item, Membership, Outbox, Reader};
use rejoin_protocol::{
    CloseCode, ErrorCode, MessageId, SessionId, StreamNumber, TopicName,
    binary::{BinaryKind, Head},
    message::{self, AuthResult, Authenticate, Envelope, ErrorBody, Request, ServerMessage},
};
use rejoin_websocket::{Decoder, Event, Feed, Role};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout, timeout_at},
};
use tracing::{debug, info};

use crate::{gateway::Shared, net::ReadHalf, socket::scratch, token::TokenError};

/// How long a peer may go on sending after the server has said goodbye.
const LINGER: Duration = Duration::from_secs(5);

/// How long a peer may leave its replies unread while nothing more is read from it.
const PATIENCE: Duration = Duration::from_secs(30);

/// One client, from its first byte to its last.
pub(super) struct Client {
    pub(super) shared: Arc<Shared>,
    socket: ReadHalf,
    outbox: Arc<Outbox>,
    /// Taken while it decodes.
    decoder: Decoder,
    /// There once it is authenticated; dropping it leaves the hub.
    membership: Option<Membership>,
    pub(super) subscriptions: BTreeMap<TopicName, StreamNumber>,
    pub(super) attachments: Vec<Attachment>,
    /// Given back when the connection has ended.
    _permit: OwnedSemaphorePermit,
}

/// Whether to read on.
pub(super) type Flow = ControlFlow<CloseCode>;

impl Client {
    pub(super) fn new(
        shared: Arc<Shared>,
        socket: ReadHalf,
        outbox: Arc<Outbox>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            socket,
            outbox,
            decoder: Decoder::new(Role::Server, shared.config.max_message_bytes),
            shared,
            membership: None,
            subscriptions: BTreeMap::new(),
            attachments: Vec::new(),
            _permit: permit,
        }
    }

    /// Takes what came with the request, and waits until the client is authenticated.
    pub(super) async fn begin(&mut self, first_bytes: &[u8]) -> Flow {
        let deadline = Instant::now() + self.shared.config.auth_timeout;
        let mut flow = self.take(&mut first_bytes.to_vec()).await;
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
            match scratch::read(&mut self.socket).await {
                Ok(mut bytes) if !bytes.is_empty() => {
                    if let Some(connection) = self.connection() {
                        connection.hear();
                    }
                    if let Flow::Break(code) = Box::pin(self.take(&mut bytes)).await {
                        break code;
                    }
                }
                // The end, or a broken line: nobody hears a goodbye.
                Ok(_) | Err(_) => break CloseCode::Normal,
            }
        };
        Box::pin(self.leave(code)).await;
    }

    async fn leave(&mut self, code: CloseCode) {
        if let Some(connection) = self.connection() {
            info!(id = %connection.id(), user = %connection.user(), "disconnected");
        }
        self.attachments.clear();
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
        let mut decoder = mem::replace(&mut self.decoder, Decoder::new(Role::Server, 0));
        let flow = self.take_events(decoder.feed(bytes)).await;
        self.decoder = decoder;
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
            match event {
                Event::Text(text) => self.text(text).await?,
                Event::Binary(bytes) => self.binary(bytes)?,
                Event::Ping(payload) => {
                    self.outbox.push(Item::Message(rejoin_websocket::pong(payload)));
                }
                Event::Pong(_) => {}
                Event::Close(_) => return Flow::Break(CloseCode::Normal),
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

    async fn text(&mut self, text: &str) -> Flow {
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
                return self.authenticate(reply_to.as_ref(), authenticate);
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

    fn authenticate(&mut self, reply_to: Option<&MessageId>, message: Authenticate) -> Flow {
        match self.shared.verify(&message.token) {
            Ok(identity) => {
                let device = Device { id: message.device_id, name: message.device_name };
                self.welcome(reply_to, identity, device);
                Flow::Continue(())
            }
            Err(error) => {
                let (code, close) = match error {
                    TokenError::Expired | TokenError::NotYetValid => {
                        (ErrorCode::TokenExpired, CloseCode::TokenExpired)
                    }
                    TokenError::Invalid(_) => {
                        (ErrorCode::AuthenticationFailed, CloseCode::AuthenticationFailed)
                    }
                };
                debug!(%error, "a token was refused");
                let body = ErrorBody::new(code, error.to_string());
                self.send(reply_to, &ServerMessage::Error(body));
                Flow::Break(close)
            }
        }
    }

    fn time_out(&self) -> Flow {
        let error = ErrorBody::from(ErrorCode::AuthenticationTimedOut);
        self.send(None, &ServerMessage::Error(error));
        Flow::Break(CloseCode::AuthenticationTimedOut)
    }

    /// Lets an identity in.
    pub(super) fn welcome(
        &mut self,
        reply_to: Option<&MessageId>,
        identity: Identity,
        device: Device,
    ) {
        let hub = &self.shared.hub;
        let connection = Connection::new(identity, device, Arc::clone(&self.outbox), hub.encode());
        let (id, user) = (connection.id(), connection.user());
        info!(%id, %user, device = ?connection.device().id, "connected");
        self.auth_result(&connection, reply_to);
        self.outbox.push(Item::Attend(connection.clone()));
        let everyone = hub.everyone().clone();
        let (next, _) = everyone.next();
        let reader = Reader { next };
        self.outbox.push(Item::Read { stream: everyone, preamble: Vec::new(), reader });
        self.membership = Some(hub.join(connection));
    }

    pub(super) fn auth_result(&self, connection: &Connection, reply_to: Option<&MessageId>) {
        let heartbeat = self.shared.config.heartbeat.as_millis();
        let result = AuthResult {
            authenticated: true,
            user_id: connection.user().clone(),
            connection_id: connection.id().clone(),
            heartbeat_ms: u64::try_from(heartbeat).unwrap_or(u64::MAX),
            expires_at: connection.identity().expires_at,
            streams: None,
        };
        connection.send(reply_to, &ServerMessage::AuthResult(result));
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

    fn connection(&self) -> Option<&Connection> {
        self.membership.as_ref().map(Membership::connection)
    }

    fn send(&self, reply_to: Option<&MessageId>, message: &ServerMessage) {
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
