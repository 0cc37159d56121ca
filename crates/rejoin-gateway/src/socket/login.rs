//! Who a client is: its first token, and those that replace it.

use std::{mem, sync::Arc};

use futures_util::FutureExt;
use rejoin_core::{Attachment, Connection, Device, Identity, Item, TopicRight};
use rejoin_protocol::{
    CloseCode, ErrorCode, MessageId, Subject, TopicName,
    message::{
        AuthRefused, AuthResult, AuthenticatePayload, ErrorBody, ImplicitPositions,
        ImplicitStreamStarts, ServerMessage,
    },
};
use tracing::{debug, field::display, info};

use crate::{
    accept::PendingSlot,
    http::Opener,
    log,
    shard::Keepalive,
    socket::{
        client::{Answer, Client, Flow, Stage},
        job::Done,
        upgrade::Room,
    },
    token::TokenError,
};

impl Client {
    /// Its slot among the connections that have not authenticated.
    pub(crate) fn pending_slot(&self) -> Option<&PendingSlot> {
        match &self.room {
            Room::Connection { .. } => None,
            Room::Unauthenticated(slot) => Some(slot),
        }
    }

    /// Counts it among the connections; returns whether there is room.
    pub(super) fn enter_connections(&mut self) -> bool {
        let Room::Unauthenticated(slot) = &self.room else { return true };
        let Ok(permit) = Arc::clone(&self.shared.permits).try_acquire_owned() else {
            return false;
        };
        slot.leave_shard();
        self.room = Room::Connection { _permit: permit };
        true
    }

    /// Begins with the credentials of the request.
    pub(crate) fn open(&mut self, opener: Opener) -> Flow {
        match opener {
            Opener::Known(identity) => self.welcome(None, identity, &ImplicitPositions::default()),
            Opener::Ticket(ticket) => {
                self.welcome(None, ticket.spend(), &ImplicitPositions::default())
            }
            Opener::Unknown => Flow::Continue,
            Opener::Refused(error) => self.refuse_token(None, &error),
        }
    }

    pub(super) fn authenticate(
        &mut self,
        reply_to: Option<MessageId>,
        message: AuthenticatePayload,
    ) -> Flow {
        // Without a fetch of keys the result is there at once.
        if let Some(result) = self.shared.verify(&message.token).now_or_never() {
            return self.authenticated(reply_to.as_ref(), message, result);
        }
        let (shared, asked_by) = (Arc::clone(&self.shared), reply_to.clone());
        let job = async move {
            let result = shared.verify(&message.token).await;
            Done::Authenticated { reply_to, message, result }
        };
        self.start(asked_by.as_ref(), Box::pin(job));
        Flow::Continue
    }

    pub(super) fn authenticated(
        &mut self,
        reply_to: Option<&MessageId>,
        message: AuthenticatePayload,
        result: Result<Identity, TokenError>,
    ) -> Flow {
        match result {
            Ok(identity) => {
                // What the message leaves out, the address may have named.
                if let Stage::Authenticating { handshake, .. } = &mut self.stage {
                    let Device { id, name } = mem::take(&mut handshake.device);
                    let (id, name) = (message.device_id.or(id), message.device_name.or(name));
                    handshake.device = Device { id, name };
                }
                self.welcome(reply_to, identity, &message.positions)
            }
            Err(error) => {
                self.shared.hub.metrics().auth_failed(error.reason());
                self.refuse_token(reply_to, &error)
            }
        }
    }

    /// Answers a token or a ticket that is refused, and closes.
    fn refuse_token(&self, reply_to: Option<&MessageId>, error: &TokenError) -> Flow {
        let address = log::address(self.handshake());
        debug!(%error, address, "a token was refused");
        let (code, close) = error.codes();
        self.refuse_login(reply_to, ErrorBody::new(code, error.to_string()));
        Flow::Close(close)
    }

    fn refuse_login(&self, reply_to: Option<&MessageId>, error: ErrorBody) {
        self.send(reply_to, &ServerMessage::AuthRefused(AuthRefused::new(error)));
    }

    pub(super) fn time_out(&self) -> CloseCode {
        self.shared.hub.metrics().auth_failed("timed_out");
        self.send_error(None, ErrorCode::AuthenticationTimedOut.into());
        CloseCode::AuthenticationTimedOut
    }

    /// Refuses a message because the connection's token has expired.
    pub(super) fn end_token(&self, code: CloseCode) -> Flow {
        if code == CloseCode::TokenExpired {
            self.send_error(None, ErrorCode::TokenExpired.into());
        }
        Flow::Close(code)
    }

    /// Lets an identity in, if the user may have one more connection.
    pub(super) fn welcome(
        &mut self,
        reply_to: Option<&MessageId>,
        identity: Identity,
        positions: &ImplicitPositions,
    ) -> Flow {
        if !self.enter_connections() {
            self.shared.hub.metrics().refused("connections");
            self.refuse_login(reply_to, ErrorCode::Overloaded.into());
            return Flow::Close(CloseCode::Overloaded);
        }
        let Stage::Authenticating { handshake, .. } = &mut self.stage else {
            return Flow::Continue;
        };
        let handshake = mem::take(&mut **handshake);
        let hub = &self.shared.hub;
        let outbox = Arc::clone(&self.outbox);
        let connection = Connection::new(identity, handshake, outbox, hub.encode());
        let welcome = |streams| self.auth_result(&connection, reply_to, Some(streams));
        match hub.join(connection.clone(), positions, welcome) {
            Ok(membership) => {
                let keepalive = Keepalive::default();
                self.stage = Stage::Authenticated { membership, keepalive };
                let (id, user) = (connection.id(), connection.user());
                let device = log::device(connection.handshake());
                let address = log::address(connection.handshake());
                let span = self.span();
                span.record("id", display(id)).record("user", display(user));
                span.record("device", device);
                info!(%id, %user, device, address, "connected");
                // A revocation that came meanwhile did not find this connection.
                match self.shared.config.verifier.recheck(&connection.identity()) {
                    Ok(()) => Flow::Continue,
                    Err(error) => self.refuse_token(None, &error),
                }
            }
            Err(error) => {
                hub.metrics().refused("connections_per_user");
                self.refuse_login(reply_to, error);
                Flow::Close(CloseCode::ConnectionLimit)
            }
        }
    }

    pub(super) fn auth_result(
        &self,
        connection: &Connection,
        reply_to: Option<&MessageId>,
        streams: Option<ImplicitStreamStarts>,
    ) {
        let heartbeat = self.shared.config.heartbeat.as_millis();
        let result = AuthResult {
            authenticated: true,
            user_id: connection.user().clone(),
            connection_id: connection.id().clone(),
            heartbeat_ms: u64::try_from(heartbeat).unwrap_or(u64::MAX),
            expires_at: connection.expires_at(),
            streams,
        };
        connection.send(reply_to, &ServerMessage::AuthResult(result));
    }

    /// Verifies a new token.
    pub(super) fn refresh(&mut self, reply_to: Option<&MessageId>, token: String) -> Answer {
        if let Some(result) = self.shared.verify(&token).now_or_never() {
            return self.replace_token(reply_to, result);
        }
        let (shared, asked_by) = (Arc::clone(&self.shared), reply_to.cloned());
        let job = async move {
            let result = shared.verify(&token).await;
            Done::Refreshed { reply_to: asked_by, result }
        };
        self.start(reply_to, Box::pin(job));
        Ok(())
    }

    pub(super) fn refreshed(
        &mut self,
        reply_to: Option<&MessageId>,
        result: Result<Identity, TokenError>,
    ) -> Flow {
        match self.replace_token(reply_to, result) {
            Ok(()) => Flow::Continue,
            Err(error) => self.send_error(reply_to, error),
        }
    }

    /// Takes over a new token; what it does not allow any more ends.
    fn replace_token(
        &mut self,
        reply_to: Option<&MessageId>,
        result: Result<Identity, TokenError>,
    ) -> Answer {
        let Some(connection) = self.connection().cloned() else { return Ok(()) };
        let refused = |error: &TokenError| {
            self.shared.hub.metrics().auth_failed(error.reason());
            ErrorBody::new(error.codes().0, error.to_string())
        };
        let identity = result.map_err(|error| refused(&error))?;
        connection
            .refresh(identity)
            .map_err(|error| ErrorBody::new(ErrorCode::AuthenticationFailed, error.to_string()))?;
        // A revocation that came meanwhile found the connection with its old token.
        if let Err(error) = self.shared.config.verifier.recheck(&connection.identity()) {
            connection.send_error(reply_to, refused(&error));
            connection.close(error.codes().1);
            return Ok(());
        }
        // The new token ends at another time.
        self.has_new_deadline = true;
        self.auth_result(&connection, reply_to, None);
        self.end_what_is_forbidden(&connection);
        Ok(())
    }

    fn end_what_is_forbidden(&mut self, connection: &Connection) {
        let identity = connection.identity();
        let gone = |what: String| {
            let sentence = format!("the new token does not allow {what} any more: it has ended");
            connection.send_error(None, ErrorBody::new(ErrorCode::Forbidden, sentence));
        };
        let may_read = |topic: &TopicName| {
            topic.is_reserved() || identity.caps.allows_topic(topic, TopicRight::Subscribe)
        };
        for (topic, subscription) in self.subscriptions.extract_if(.., |topic, _| !may_read(topic))
        {
            if let Some(subscription) = subscription {
                connection.outbox().push(Item::Unread(subscription.stream().number()));
            }
            gone(format!("the topic `{topic}`"));
        }
        let may_attach = |attachment: &Attachment| {
            let session = attachment.session();
            let role = Some(attachment.role());
            identity.role(session.owner(), session.profile(), role).is_some()
        };
        for attachment in self.attachments.extract_if(.., |attachment| !may_attach(attachment)) {
            let what = format!("the session `{}`", attachment.session().id());
            attachment.detach();
            gone(what);
        }
        let hub = &self.shared.hub;
        let may_follow = |subject: &Subject| hub.may_see(&identity, subject).is_ok();
        for (_, stream) in self.following.extract_if(.., |(subject, _)| !may_follow(subject)) {
            connection.outbox().push(Item::Unread(stream));
            gone("to follow this presence".to_owned());
        }
    }
}
