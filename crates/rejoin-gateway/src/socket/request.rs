//! The built-in messages, and those that a handler of the embedding program takes.

use rejoin_core::{
    AttachRequest, Connection, CreateTerminal, Item, Receipt, SessionRight, TopicRight, now_ms,
};
use rejoin_protocol::{
    ErrorCode, MessageId, Role, SessionKind,
    message::{
        Attach, CreateSession, Empty, Envelope, ErrorBody, Input, OptionalSize, Pong, Publish,
        PublishAck, Request, RequiredSize, ServerMessage, SessionAck, SessionRef, Subscribe,
        SubscribeAck, Subscriptions, TopicRef, handler_text,
    },
};

use crate::socket::client::Client;

type Answer = Result<(), ErrorBody>;

impl Client {
    /// Does what a built-in message asks; an error is sent by the caller.
    pub(super) async fn request(
        &mut self,
        connection: &Connection,
        reply_to: Option<&MessageId>,
        request: Request<'_>,
    ) -> Answer {
        let answer = match request {
            Request::Authenticate(_) if !self.shared.config.auth_required => {
                self.auth_result(connection, reply_to);
                return Ok(());
            }
            Request::Authenticate(_) => return Err(ErrorCode::AlreadyAuthenticated.into()),
            Request::Ping => ServerMessage::Pong(Pong { time: now_ms() }),
            Request::Heartbeat => ServerMessage::Heartbeat(Empty {}),
            Request::Subscribe(subscribe) => {
                return self.subscribe(connection, reply_to, subscribe).await;
            }
            Request::Unsubscribe(topic) => self.unsubscribe(connection, &topic)?,
            Request::ListSubscriptions => ServerMessage::Subscriptions(Subscriptions {
                subscriptions: self.subscriptions.keys().cloned().collect(),
            }),
            Request::Publish(publish) => self.publish(connection, publish).await?,
            Request::CreateSession(create) => self.create(connection, create).await?,
            Request::Attach(attach) => return self.attach(connection, reply_to, attach).await,
            Request::Detach(session) => self.leave_session(&session)?,
            Request::Input(input) => return self.input(connection, reply_to, input),
            Request::Resize(resize) => {
                let RequiredSize(size) = resize.size;
                self.attachment(&resize.session)?.resize(size)?;
                ServerMessage::Ack(Empty {})
            }
            Request::CloseSession(session) => self.close(connection, &session).await?,
            Request::Refresh(_) | Request::Presence(_) | Request::Signal(_) => {
                return Err(ErrorCode::Internal.into());
            }
        };
        connection.send(reply_to, &answer);
        Ok(())
    }

    /// Passes a message on to the handler of its type.
    pub(super) async fn custom(
        &mut self,
        connection: &Connection,
        reply_to: Option<&MessageId>,
        envelope: &Envelope<'_>,
    ) -> Answer {
        let kind = &*envelope.kind;
        let Some(handler) = self.shared.handlers.0.get(kind) else {
            let sentence = format!("there is no message type `{}`", kind.escape_debug());
            return Err(ErrorBody::new(ErrorCode::UnknownType, sentence));
        };
        if let Some(reply) = handler.handle(connection, envelope.payload).await? {
            connection.send_text(&handler_text(reply_to, &reply.kind, &reply.payload));
        }
        Ok(())
    }

    async fn subscribe(
        &mut self,
        connection: &Connection,
        reply_to: Option<&MessageId>,
        subscribe: Subscribe,
    ) -> Answer {
        let Subscribe { topic, position } = subscribe;
        let caps = &connection.identity().caps;
        let stream = self.shared.hub.topic(&topic, caps, TopicRight::Subscribe)?;
        let start = stream.start(position).await.ok_or(ErrorCode::Internal)?;
        self.subscriptions.insert(topic.clone(), stream.number());
        let ack = ServerMessage::Subscribed(SubscribeAck {
            topic,
            verdict: start.verdict,
            replayed: start.replayed,
            missed: start.missed,
            reason: start.reason,
            position: start.position,
        });
        connection.send(reply_to, &ack);
        let (preamble, reader) = (start.preamble, start.reader);
        connection.outbox().push(Item::Read { stream, preamble, reader });
        Ok(())
    }

    fn unsubscribe(
        &mut self,
        connection: &Connection,
        topic: &TopicRef,
    ) -> Result<ServerMessage, ErrorBody> {
        let stream = self.subscriptions.remove(&topic.topic).ok_or(ErrorCode::NotSubscribed)?;
        connection.outbox().push(Item::Unread(stream));
        Ok(ServerMessage::Ack(Empty {}))
    }

    async fn publish(
        &self,
        connection: &Connection,
        publish: Publish<'_>,
    ) -> Result<ServerMessage, ErrorBody> {
        let caps = &connection.identity().caps;
        let position = self.shared.hub.publish(&publish.topic, caps, publish.data).await?;
        Ok(ServerMessage::Published(PublishAck { position }))
    }

    async fn create(
        &self,
        connection: &Connection,
        create: CreateSession,
    ) -> Result<ServerMessage, ErrorBody> {
        if create.kind != SessionKind::Terminal {
            let sentence = "`kind` must be `terminal`; topics are there as soon as they are used";
            return Err(ErrorBody::new(ErrorCode::InvalidField, sentence));
        }
        let OptionalSize(size) = create.size;
        let CreateSession { profile, name, cwd, .. } = create;
        let create = CreateTerminal { profile, name, size, cwd };
        let session = self.shared.hub.create_terminal(connection.identity(), create).await?;
        Ok(ServerMessage::SessionCreated(SessionAck { session: Box::new(session.info()) }))
    }

    async fn attach(
        &mut self,
        connection: &Connection,
        reply_to: Option<&MessageId>,
        attach: Attach,
    ) -> Answer {
        let right = match attach.role {
            Role::Writer => SessionRight::Write,
            Role::Viewer => SessionRight::Attach,
        };
        let session = self.shared.hub.session(&attach.session, connection.identity(), right)?;
        // Attaching again begins anew; what has been closed meanwhile is let go.
        self.detach(session.id());
        for closed in self.attachments.extract_if(.., |a| a.session().is_closed()) {
            closed.detach();
        }
        let OptionalSize(size) = attach.size;
        let request = AttachRequest {
            reply_to: reply_to.cloned(),
            position: attach.position,
            role: attach.role,
            writer: attach.writer,
            size,
        };
        self.attachments.push(session.attach(connection, request).await?);
        Ok(())
    }

    fn leave_session(&mut self, session: &SessionRef) -> Result<ServerMessage, ErrorBody> {
        // The session may be closed by now; whoever is attached may leave it all the same.
        if !self.detach(&session.session) {
            return Err(ErrorCode::NotAttached.into());
        }
        Ok(ServerMessage::Ack(Empty {}))
    }

    fn input(&self, connection: &Connection, reply_to: Option<&MessageId>, input: Input) -> Answer {
        let attachment = self.attachment(&input.session)?;
        let receipt = Receipt::text(connection.clone(), reply_to.cloned());
        attachment.input(input.seq.unwrap_or(0), input.data.into(), receipt)
    }

    async fn close(
        &mut self,
        connection: &Connection,
        session: &SessionRef,
    ) -> Result<ServerMessage, ErrorBody> {
        let identity = connection.identity();
        let session = self.shared.hub.session(&session.session, identity, SessionRight::Write)?;
        self.shared.hub.close_session(&session).await;
        Ok(ServerMessage::Ack(Empty {}))
    }
}
