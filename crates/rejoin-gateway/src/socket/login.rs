//! Who a client is: its first token, and those that replace it.

use std::{mem, sync::Arc};

use rejoin_core::{Attachment, Connection, Device, Handshake, Identity, Item, TopicRight};
use rejoin_protocol::{
    CloseCode, ErrorCode, MessageId, Subject, TopicName,
    message::{AuthResult, Authenticate, ErrorBody, OwnStreams, Positions, ServerMessage},
};
use tracing::{Span, debug, field::display, info};

use crate::{
    socket::client::{Answer, Client, Flow},
    token::TokenError,
};

impl Client {
    pub(super) async fn authenticate(
        &mut self,
        reply_to: Option<&MessageId>,
        message: Authenticate,
    ) -> Flow {
        match self.shared.verify(&message.token).await {
            Ok(identity) => {
                // What the message does not say, the address may have said.
                let said = mem::take(&mut self.handshake.device);
                self.handshake.device = Device {
                    id: message.device_id.or(said.id),
                    name: message.device_name.or(said.name),
                };
                self.welcome(reply_to, identity, &message.positions)
            }
            Err(error) => {
                self.shared.hub.metrics().auth_failed(error.reason());
                self.refuse_token(reply_to, &error)
            }
        }
    }

    /// Says why a token or a ticket does not let the client in.
    pub(super) fn refuse_token(&self, reply_to: Option<&MessageId>, error: &TokenError) -> Flow {
        debug!(%error, address = ?self.handshake.address, "a token was refused");
        let (code, close) = error.codes();
        self.send(reply_to, &ServerMessage::Error(ErrorBody::new(code, error.to_string())));
        Flow::Break(close)
    }

    pub(super) fn time_out(&self) -> Flow {
        self.shared.hub.metrics().auth_failed("timed_out");
        let error = ErrorBody::from(ErrorCode::AuthenticationTimedOut);
        self.send(None, &ServerMessage::Error(error));
        Flow::Break(CloseCode::AuthenticationTimedOut)
    }

    /// Lets an identity in, if the user may have one more connection.
    pub(super) fn welcome(
        &mut self,
        reply_to: Option<&MessageId>,
        identity: Identity,
        positions: &Positions,
    ) -> Flow {
        let hub = &self.shared.hub;
        let handshake = mem::take(&mut self.handshake);
        let outbox = Arc::clone(&self.outbox);
        let connection = Connection::new(identity, handshake, outbox, hub.encode());
        let welcome = |streams| {
            self.auth_result(&connection, reply_to, Some(streams));
            self.outbox.push(Item::Attend(connection.clone()));
        };
        let joined = hub.join(connection.clone(), positions, welcome);
        match joined {
            Ok(membership) => {
                let (id, user) = (connection.id(), connection.user());
                let Handshake { device, address, .. } = connection.handshake();
                let span = Span::current();
                span.record("id", display(id)).record("user", display(user));
                span.record("device", device.id.as_ref().map(display));
                info!(%id, %user, device = ?device.id, ?address, "connected");
                self.membership = Some(membership);
                // Whoever revoked the token meanwhile did not find this connection.
                match self.shared.config.verifier.recheck(&connection.identity()) {
                    Ok(()) => Flow::Continue(()),
                    Err(error) => self.refuse_token(None, &error),
                }
            }
            Err(error) => {
                hub.metrics().refused("connections_per_user");
                self.send(reply_to, &ServerMessage::Error(error));
                Flow::Break(CloseCode::ConnectionLimit)
            }
        }
    }

    pub(super) fn auth_result(
        &self,
        connection: &Connection,
        reply_to: Option<&MessageId>,
        streams: Option<OwnStreams>,
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

    /// Takes over a new token; what it does not allow any more ends.
    pub(super) async fn refresh(
        &mut self,
        connection: &Connection,
        reply_to: Option<&MessageId>,
        token: &str,
    ) -> Answer {
        let refused = |error: &TokenError| {
            self.shared.hub.metrics().auth_failed(error.reason());
            ErrorBody::new(error.codes().0, error.to_string())
        };
        let identity = self.shared.verify(token).await.map_err(|error| refused(&error))?;
        connection
            .refresh(identity)
            .map_err(|error| ErrorBody::new(ErrorCode::AuthenticationFailed, error.to_string()))?;
        // Whoever revoked it meanwhile found the connection with its old token.
        if let Err(error) = self.shared.config.verifier.recheck(&connection.identity()) {
            connection.send_error(reply_to, refused(&error));
            connection.close(error.codes().1);
            return Ok(());
        }
        self.auth_result(connection, reply_to, None);
        // The token ends at another time.
        connection.outbox().push(Item::Attend(connection.clone()));
        self.end_what_is_forbidden(connection);
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
            identity.may(session.owner(), session.profile(), attachment.right())
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
