//! Requests: built-in messages, and messages for handlers of the embedding program.

use std::sync::Arc;

use rejoin_core::{
    AttachOptions, Authority, Confirm, Connection, CreateTerminal, NewMessage, OutboxItem,
    PresenceSubscription, PublishProgress, Receipt, SessionRight, now_ms,
};
use rejoin_protocol::{
    ErrorCode, MessageId, SessionKind, Subject,
    message::{
        AttachPayload, CreateSessionPayload, Empty, Envelope, ErrorBody, InputPayload,
        OptionalSize, Pong, PresencePayload, PublishAck, PublishPayload, Request, RequiredSize,
        ServerMessage, SessionAck, SessionRef, SubscribeAck, SubscribePayload, Subscriptions,
        TopicRef, handler_text,
    },
};

use crate::socket::client::{Client, JobResult, RequestResult};

impl Client {
    /// Executes a built-in message, and sends the answer. The caller sends an error.
    pub(super) fn request(
        &mut self,
        connection: &Connection,
        reply_to: Option<&MessageId>,
        request: Request<'_>,
    ) -> RequestResult {
        let answer = match request {
            Request::Publish(publish) => return self.publish(connection, reply_to, &publish),
            Request::Input(input) => return self.input(connection, reply_to, input),
            Request::Authenticate(_) if !self.shared.config.auth_required => {
                self.auth_result(connection, reply_to, None);
                return Ok(());
            }
            Request::Refresh(refresh) => return self.refresh(reply_to, refresh.token),
            Request::Authenticate(_) => return Err(ErrorCode::AlreadyAuthenticated.into()),
            Request::Ping => ServerMessage::Pong(Pong { time: now_ms() }),
            Request::Heartbeat => ServerMessage::Heartbeat(Empty {}),
            Request::Subscribe(subscribe) => {
                return self.subscribe(connection, reply_to, subscribe);
            }
            Request::Presence(presence) => return self.presence(connection, reply_to, &presence),
            Request::Unsubscribe(topic) => self.unsubscribe(connection, &topic)?,
            Request::ListSubscriptions => ServerMessage::Subscriptions(Subscriptions {
                subscriptions: self.subscriptions.keys().cloned().collect(),
            }),
            Request::CreateSession(create) => return self.create(connection, reply_to, create),
            Request::Attach(attach) => return self.attach(connection, reply_to, attach),
            Request::Detach(session) => self.detach_session(&session)?,
            Request::Resize(resize) => {
                let RequiredSize(size) = resize.size;
                self.attachment(&resize.session)?.resize(size)?;
                ServerMessage::Ack(Empty {})
            }
            Request::Signal(signal) => {
                self.attachment(&signal.session)?.signal(signal.signal)?;
                ServerMessage::Ack(Empty {})
            }
            Request::History(query) => return self.history(connection, reply_to, &query),
            Request::CloseSession(session) => return self.close(connection, reply_to, &session),
            Request::ReviveSession(session) => return self.revive(connection, reply_to, &session),
        };

        connection.send(reply_to, &answer);
        Ok(())
    }

    /// Runs a request as a job, which sends the answer or the error.
    fn answer_later(
        &mut self,
        connection: &Connection,
        reply_to: Option<&MessageId>,
        answer: impl Future<Output = Result<ServerMessage, ErrorBody>> + Send + 'static,
    ) {
        let (connection, request_id) = (connection.clone(), reply_to.cloned());
        let job = async move {
            let answer = answer.await.unwrap_or_else(ServerMessage::Error);
            connection.send(request_id.as_ref(), &answer);
            JobResult::Handled
        };

        self.start_job(reply_to, Box::pin(job));
    }

    /// Passes a message to the handler of its type, as a job.
    pub(super) fn call_handler(
        &mut self,
        connection: &Connection,
        reply_to: Option<&MessageId>,
        envelope: &Envelope<'_>,
    ) -> RequestResult {
        let kind = &*envelope.kind;
        let Some(handler) = self.shared.handlers.0.get(kind).map(Arc::clone) else {
            let sentence = format!("unknown message type `{}`", kind.escape_debug());
            return Err(ErrorBody::new(ErrorCode::UnknownType, sentence));
        };

        let payload = envelope.payload.map(ToOwned::to_owned);
        let (connection, request_id) = (connection.clone(), reply_to.cloned());
        let job = async move {
            // The connection may have been closed or revoked since the job was queued.
            if connection.may_act().is_err() {
                return JobResult::Handled;
            }

            match handler.handle(&connection, payload.as_deref()).await {
                Ok(Some(reply)) => {
                    let text = handler_text(request_id.as_ref(), &reply.kind, &reply.payload);
                    connection.send_text(&text);
                }
                Ok(None) => {}
                Err(error) => connection.send_error(request_id.as_ref(), error),
            }

            JobResult::Handled
        };

        self.start_job(reply_to, Box::pin(job));
        Ok(())
    }

    /// Subscribes to a topic. Queues the `ack` first, and then the start of the reader.
    fn subscribe(
        &mut self,
        connection: &Connection,
        reply_to: Option<&MessageId>,
        subscribe: SubscribePayload,
    ) -> RequestResult {
        let SubscribePayload { topic, position } = subscribe;
        if !self.subscriptions.contains_key(&topic) {
            self.check_capacity()?;
        }
        let (start, subscription) = self.shared.hub.subscribe(connection, &topic, position)?;

        // An implicit stream already has a reader. A new one without a position would skip frames
        // that are on their way.
        let is_read = topic.is_implicit() && position.is_none();
        let stream = subscription.as_ref().filter(|_| !is_read);
        let stream = stream.map(|subscription| subscription.stream().clone());
        self.subscriptions.insert(topic.clone(), subscription);
        let ack = ServerMessage::Subscribed(SubscribeAck {
            topic,
            verdict: start.verdict,
            replayed: start.replayed,
            missed: start.missed,
            reason: start.reason,
            position: start.position,
        });

        connection.send(reply_to, &ack);
        if let Some(stream) = stream {
            let (preamble, reader) = (start.preamble, start.reader);
            let window = None;
            connection.outbox().push(OutboxItem::StartReading { stream, preamble, reader, window });
        }

        Ok(())
    }

    /// Checks the combined limit of subscriptions, attachments and followed presences.
    ///
    /// # Errors
    /// `too_many_subscriptions`.
    fn check_capacity(&self) -> RequestResult {
        let held = self.subscriptions.len() + self.attachments.len() + self.following.len();
        let max = self.shared.config.max_subscriptions;
        if held < max {
            return Ok(());
        }

        self.shared.hub.metrics().rate_limited("subscriptions");
        let sentence = format!(
            "a connection may have {max} subscriptions and attachments; end one of them first"
        );
        Err(ErrorBody::new(ErrorCode::TooManySubscriptions, sentence))
    }

    fn unsubscribe(
        &mut self,
        connection: &Connection,
        topic: &TopicRef,
    ) -> Result<ServerMessage, ErrorBody> {
        let subscription =
            self.subscriptions.remove(&topic.topic).ok_or(ErrorCode::NotSubscribed)?;
        // The reader of an implicit stream stays, because it does not belong to the subscription.
        if let Some(subscription) = subscription
            && !topic.topic.is_implicit()
        {
            connection.outbox().push(OutboxItem::StopReading(subscription.stream().number()));
        }
        Ok(ServerMessage::Ack(Empty {}))
    }

    fn publish(
        &mut self,
        connection: &Connection,
        reply_to: Option<&MessageId>,
        publish: &PublishPayload<'_>,
    ) -> RequestResult {
        let PublishPayload { topic, data, key } = publish;

        // Usually the stream has room, so no job is needed.
        let confirm = || -> Confirm {
            let (connection, request_id) = (connection.clone(), reply_to.cloned());
            Box::new(move |position| {
                let ack = |position| ServerMessage::Published(PublishAck { position });
                let answer = position.map_or_else(ServerMessage::Error, ack);
                connection.send(request_id.as_ref(), &answer);
            })
        };
        let message = NewMessage { topic, data, key: key.as_ref() };
        match self.shared.hub.try_publish(&message, connection, confirm)? {
            PublishProgress::Done(position) => {
                connection.send(reply_to, &ServerMessage::Published(PublishAck { position }));
                return Ok(());
            }
            PublishProgress::Queued => return Ok(()),
            PublishProgress::Full => {}
        }

        let (hub, author) = (self.shared.hub.clone(), connection.clone());
        let (topic, data, key) = (topic.clone(), (*data).to_owned(), key.clone());
        self.answer_later(connection, reply_to, async move {
            let position = hub.publish(&topic, &author, &data, key.as_ref()).await?;
            Ok(ServerMessage::Published(PublishAck { position }))
        });

        Ok(())
    }

    fn create(
        &mut self,
        connection: &Connection,
        reply_to: Option<&MessageId>,
        create: CreateSessionPayload,
    ) -> RequestResult {
        if create.kind != SessionKind::Terminal {
            let sentence = "`kind` must be `terminal`; a topic is created by its first use";
            return Err(ErrorBody::new(ErrorCode::InvalidField, sentence));
        }

        let OptionalSize(size) = create.size;
        let CreateSessionPayload { profile, name, cwd, .. } = create;
        let create = CreateTerminal { id: None, profile, name, size, cwd };
        let (hub, author) = (self.shared.hub.clone(), connection.clone());
        self.answer_later(connection, reply_to, async move {
            let session = hub.create_terminal(&author, create).await?;
            Ok(ServerMessage::SessionCreated(SessionAck { session: Box::new(session.info()) }))
        });

        Ok(())
    }

    fn attach(
        &mut self,
        connection: &Connection,
        reply_to: Option<&MessageId>,
        attach: AttachPayload,
    ) -> RequestResult {
        let identity = connection.identity();
        let session = self.shared.hub.session(&attach.session, &identity, SessionRight::Attach)?;
        let role = identity.role(session.owner(), session.profile(), Some(attach.role));
        role.ok_or(ErrorCode::Forbidden)?;

        // A second attach replaces the first one. Attachments to closed sessions free their
        // capacity.
        self.detach(session.id());
        for closed in self.attachments.extract_if(.., |a| a.session().is_closed()) {
            closed.detach();
        }
        self.check_capacity()?;

        let OptionalSize(size) = attach.size;
        let request = AttachOptions {
            reply_to: reply_to.cloned(),
            position: attach.position,
            role: attach.role,
            writer: attach.writer,
            size,
            window: attach.window,
        };

        let (connection, request_id) = (connection.clone(), reply_to.cloned());
        let job = async move {
            match session.attach(&connection, request).await {
                Ok(attachment) => JobResult::Attached(attachment),
                Err(error) => {
                    connection.send_error(request_id.as_ref(), error);
                    JobResult::Handled
                }
            }
        };

        self.start_job(reply_to, Box::pin(job));
        Ok(())
    }

    fn detach_session(&mut self, session: &SessionRef) -> Result<ServerMessage, ErrorBody> {
        // Does not look up the session: even an attachment to a closed one can be ended.
        if !self.detach(&session.session) {
            return Err(ErrorCode::NotAttached.into());
        }

        Ok(ServerMessage::Ack(Empty {}))
    }

    fn input(
        &self,
        connection: &Connection,
        reply_to: Option<&MessageId>,
        input: InputPayload,
    ) -> RequestResult {
        let attachment = self.attachment(&input.session)?;
        let receipt = Receipt::text(connection.clone(), reply_to.cloned());
        attachment.input(input.seq.unwrap_or(0), input.data.into(), receipt)
    }

    fn close(
        &mut self,
        connection: &Connection,
        reply_to: Option<&MessageId>,
        session: &SessionRef,
    ) -> RequestResult {
        let identity = connection.identity();
        let session = self.shared.hub.session(&session.session, &identity, SessionRight::Write)?;

        let (hub, author) = (self.shared.hub.clone(), connection.clone());
        self.answer_later(connection, reply_to, async move {
            // The connection may have been revoked since the job was queued.
            author.check()?;
            hub.close_session(&session).await;
            Ok(ServerMessage::Ack(Empty {}))
        });

        Ok(())
    }

    fn revive(
        &mut self,
        connection: &Connection,
        reply_to: Option<&MessageId>,
        session: &SessionRef,
    ) -> RequestResult {
        let identity = connection.identity();
        let lost = self.shared.hub.session(&session.session, &identity, SessionRight::Write)?;

        let (hub, author) = (self.shared.hub.clone(), connection.clone());
        self.answer_later(connection, reply_to, async move {
            let session = hub.revive_terminal(&author, &lost).await?;
            Ok(ServerMessage::SessionCreated(SessionAck { session: Box::new(session.info()) }))
        });

        Ok(())
    }

    fn presence(
        &mut self,
        connection: &Connection,
        reply_to: Option<&MessageId>,
        presence: &PresencePayload,
    ) -> RequestResult {
        let PresencePayload { subject, follow } = presence;
        let identity = connection.identity();
        if *follow != Some(true) {
            if *follow == Some(false) {
                // Runs before the lookup, which fails if the session is closed: the presence must
                // be unfollowed in any case.
                self.unfollow(connection, subject);
            }

            let state = self.shared.hub.presence(&identity, subject)?;
            connection.send(reply_to, &ServerMessage::Presence(state));
            return Ok(());
        }

        if !self.following.iter().any(|(followed, _)| followed == subject) {
            self.check_capacity()?;
        }
        let PresenceSubscription { state, stream, reader } =
            self.shared.hub.subscribe_presence(&identity, subject)?;

        // Ends the earlier reader before the new one is queued, because both read the same stream.
        self.unfollow(connection, subject);
        self.following.push((subject.clone(), stream.number()));
        connection.send(reply_to, &ServerMessage::Presence(state));
        let (preamble, window) = (Vec::new(), None);
        connection.outbox().push(OutboxItem::StartReading { stream, preamble, reader, window });
        Ok(())
    }

    fn unfollow(&mut self, connection: &Connection, subject: &Subject) {
        for (_, stream) in self.following.extract_if(.., |(followed, _)| followed == subject) {
            connection.outbox().push(OutboxItem::StopReading(stream));
        }
    }
}
