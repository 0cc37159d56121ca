//! Authentication: a client's first token, and the tokens that replace it.

use std::{mem, sync::Arc};

use futures_util::FutureExt;
use rejoin_auth::TokenError;
use rejoin_core::{Attachment, Connection, Device, Identity, OutboxItem, TopicRight};
use rejoin_protocol::{
    CloseCode, ErrorCode, MessageId, Subject, TopicName,
    message::{
        AuthRefused, AuthResult, AuthenticatePayload, ErrorBody, ImplicitPositions,
        ImplicitStreamStarts, ServerMessage,
    },
};
use tracing::{debug, field::display, info};

use crate::{
    credentials::AuthOutcome,
    log,
    pending::PendingSlot,
    socket::{
        client::{AuthState, Client, Flow, JobResult, RequestResult},
        keepalive::Keepalive,
        upgrade::Admission,
    },
};

impl Client {
    /// Returns the slot among the unauthenticated connections. `None` once the client has a permit.
    pub(crate) fn pending_slot(&self) -> Option<&PendingSlot> {
        match &self.admission {
            Admission::Connection { .. } => None,
            Admission::Unauthenticated(slot) => Some(slot),
        }
    }

    /// Exchanges the pending slot for a connection permit. Returns `true` if one was available.
    fn take_permit(&mut self) -> bool {
        let Admission::Unauthenticated(slot) = &self.admission else { return true };

        let Ok(permit) = Arc::clone(&self.shared.permits).try_acquire_owned() else {
            return false;
        };

        // From here on, evicting the slot must not close the authenticated connection.
        slot.clear_owner();
        self.admission = Admission::Connection { _permit: permit };
        true
    }

    /// Acts on the credentials of the upgrade request.
    pub(crate) fn open(&mut self, auth: AuthOutcome) -> Flow {
        match auth {
            AuthOutcome::Known(identity) => {
                self.join(None, identity, &ImplicitPositions::default())
            }
            AuthOutcome::Unknown => Flow::Continue,
            AuthOutcome::Refused(error) => self.refuse_token(None, &error),
        }
    }

    /// Verifies the token of `authenticate`, as a job if keys must be fetched.
    pub(super) fn authenticate(
        &mut self,
        reply_to: Option<MessageId>,
        message: AuthenticatePayload,
    ) -> Flow {
        // The future is ready at once, unless keys must be fetched.
        if let Some(result) = self.shared.verify(&message.token).now_or_never() {
            return self.authenticated(reply_to.as_ref(), message, result);
        }

        let (shared, request_id) = (Arc::clone(&self.shared), reply_to.clone());
        let job = async move {
            let result = shared.verify(&message.token).await;
            JobResult::Authenticated { reply_to, message, result }
        };

        self.start_job(request_id.as_ref(), Box::pin(job));
        Flow::Continue
    }

    /// Acts on the verified or refused token of `authenticate`.
    pub(super) fn authenticated(
        &mut self,
        reply_to: Option<&MessageId>,
        message: AuthenticatePayload,
        result: Result<Identity, TokenError>,
    ) -> Flow {
        match result {
            Ok(identity) => {
                // The message takes precedence over the query of the upgrade request.
                if let AuthState::Authenticating { handshake, .. } = &mut self.auth {
                    let Device { id, name } = mem::take(&mut handshake.device);
                    let (id, name) = (message.device_id.or(id), message.device_name.or(name));
                    handshake.device = Device { id, name };
                }

                self.join(reply_to, identity, &message.positions)
            }
            Err(error) => {
                self.shared.metrics.auth_failed(error.reason());
                self.refuse_token(reply_to, &error)
            }
        }
    }

    /// Sends the refusal of a token or ticket, and closes the connection.
    fn refuse_token(&self, reply_to: Option<&MessageId>, error: &TokenError) -> Flow {
        let address = log::address(self.client_info());
        debug!(%error, address, "a token was refused");
        let (code, close) = error.codes();
        self.refuse_login(reply_to, ErrorBody::new(code, error.to_string()));
        Flow::Close(close)
    }

    fn refuse_login(&self, reply_to: Option<&MessageId>, error: ErrorBody) {
        self.send(reply_to, &ServerMessage::AuthRefused(AuthRefused::new(error)));
    }

    /// Counts a missed authentication deadline, and sends the error. Returns the close code.
    pub(super) fn authentication_timed_out(&self) -> CloseCode {
        self.shared.metrics.auth_failed("timed_out");
        self.send_error(None, ErrorCode::AuthenticationTimedOut.into());
        CloseCode::AuthenticationTimedOut
    }

    /// Refuses a message with the code of [`Connection::may_act_at`], and closes the connection.
    pub(super) fn refuse_expired(&self, code: CloseCode) -> Flow {
        if code == CloseCode::TokenExpired {
            self.send_error(None, ErrorCode::TokenExpired.into());
        }
        Flow::Close(code)
    }

    /// Joins the hub as `identity`, if the limits allow one more connection.
    fn join(
        &mut self,
        reply_to: Option<&MessageId>,
        identity: Identity,
        positions: &ImplicitPositions,
    ) -> Flow {
        if !self.take_permit() {
            self.shared.metrics.refused("connections");
            self.refuse_login(reply_to, ErrorCode::Overloaded.into());
            return Flow::Close(CloseCode::Overloaded);
        }

        let AuthState::Authenticating { handshake, .. } = &mut self.auth else {
            return Flow::Continue;
        };

        let handshake = mem::take(&mut **handshake);
        let hub = &self.shared.hub;
        let outbox = Arc::clone(&self.outbox);
        let connection = Connection::new(identity, handshake, outbox, hub.encode());

        // The hub calls this before any frame of an implicit stream can be queued.
        let send_result = |streams| self.auth_result(&connection, reply_to, Some(streams));
        match hub.register(connection.clone(), positions, send_result) {
            Ok(membership) => {
                let keepalive = Keepalive::default();
                self.auth = AuthState::Authenticated { membership, keepalive };
                let (id, user) = (connection.id(), connection.user());
                let device = log::device(connection.client_info());
                let address = log::address(connection.client_info());
                let span = self.span();
                span.record("id", display(id)).record("user", display(user));
                span.record("device", device);
                info!(%id, %user, device, address, "connected");

                // Rechecked after the join: a revocation between the verification and the join did
                // not find this connection.
                match self.shared.config.verifier.recheck(&connection.identity()) {
                    Ok(()) => Flow::Continue,
                    Err(error) => self.refuse_token(None, &error),
                }
            }
            Err(error) => {
                self.shared.metrics.refused("connections_per_user");
                self.refuse_login(reply_to, error);
                Flow::Close(CloseCode::ConnectionLimit)
            }
        }
    }

    /// Sends `auth_result` for an authenticated connection.
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

    /// Verifies the token of `refresh`, as a job if keys must be fetched.
    pub(super) fn refresh(&mut self, reply_to: Option<&MessageId>, token: String) -> RequestResult {
        if let Some(result) = self.shared.verify(&token).now_or_never() {
            return self.replace_token(reply_to, result);
        }

        let (shared, request_id) = (Arc::clone(&self.shared), reply_to.cloned());
        let job = async move {
            let result = shared.verify(&token).await;
            JobResult::Refreshed { reply_to: request_id, result }
        };

        self.start_job(reply_to, Box::pin(job));
        Ok(())
    }

    /// Acts on the verified or refused token of `refresh`.
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

    /// Replaces the connection's token, and ends everything that the new token does not allow.
    fn replace_token(
        &mut self,
        reply_to: Option<&MessageId>,
        result: Result<Identity, TokenError>,
    ) -> RequestResult {
        let Some(connection) = self.connection().cloned() else { return Ok(()) };

        let refused = |error: &TokenError| {
            self.shared.metrics.auth_failed(error.reason());
            ErrorBody::new(error.codes().0, error.to_string())
        };

        let identity = result.map_err(|error| refused(&error))?;
        connection
            .refresh(identity)
            .map_err(|error| ErrorBody::new(ErrorCode::AuthenticationFailed, error.to_string()))?;

        // Rechecked after the replacement: an earlier revocation of the new token did not match the
        // connection's old one.
        if let Err(error) = self.shared.config.verifier.recheck(&connection.identity()) {
            connection.send_error(reply_to, refused(&error));
            connection.close(error.codes().1);
            return Ok(());
        }

        // The new token has its own expiry.
        self.has_new_deadline = true;
        self.auth_result(&connection, reply_to, None);
        self.end_forbidden(&connection);
        Ok(())
    }

    /// Ends the subscriptions, attachments and presences that the token does not allow.
    fn end_forbidden(&mut self, connection: &Connection) {
        let identity = connection.identity();
        let notify = |ended: String| {
            let sentence = format!("{ended} has ended: the new token does not allow it");
            connection.send_error(None, ErrorBody::new(ErrorCode::Forbidden, sentence));
        };

        let may_read = |topic: &TopicName| {
            topic.is_reserved() || identity.caps.allows_topic(topic, TopicRight::Subscribe)
        };
        for (topic, subscription) in self.subscriptions.extract_if(.., |topic, _| !may_read(topic))
        {
            // Ended before the error is sent, so that no message of the topic follows the error.
            if let Some(subscription) = subscription {
                connection.outbox().push(OutboxItem::StopReading(subscription.stream().number()));
            }
            notify(format!("the subscription to topic `{topic}`"));
        }

        let may_attach = |attachment: &Attachment| {
            let session = attachment.session();
            let role = Some(attachment.role());
            identity.role(session.owner(), session.profile(), role).is_some()
        };

        for attachment in self.attachments.extract_if(.., |attachment| !may_attach(attachment)) {
            let ended = format!("the attachment to session `{}`", attachment.session().id());
            attachment.detach();
            notify(ended);
        }

        let hub = &self.shared.hub;
        let may_follow = |subject: &Subject| hub.check_presence(&identity, subject).is_ok();
        for (_, stream) in self.following.extract_if(.., |(subject, _)| !may_follow(subject)) {
            connection.outbox().push(OutboxItem::StopReading(stream));
            notify("a presence subscription".to_owned());
        }
    }
}
