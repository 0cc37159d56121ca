//! A connection: one socket from one client, as the rest of the system knows it.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::RwLock;
use rejoin_protocol::{
    CloseCode, ConnectionId, ConnectionInfo, DeviceId, DeviceName, ErrorCode, MessageId, UserId,
    message::{self, ErrorBody, ServerMessage},
};
use tokio::time::Instant;

use crate::{
    access::{Authority, Identity, new_connection_id},
    outbox::{Outbox, OutboxItem},
    presence::Member,
    time::now_ms,
    wire::{Encode, PayloadKind},
};

/// What a client says of the device that it runs on.
#[derive(Clone, Debug, Default)]
pub struct Device {
    /// Its id.
    pub id: Option<DeviceId>,
    /// What the person calls it.
    pub name: Option<DeviceName>,
}

/// What is known of a connection from its handshake (C1).
#[derive(Clone, Debug, Default)]
pub struct ClientInfo {
    /// The device that it comes from.
    pub device: Device,
    /// The address that it comes from.
    pub address: Option<IpAddr>,
    /// What the client's program calls itself.
    pub user_agent: Option<Box<str>>,
}

/// A handle to an authenticated connection.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
}

struct Shared {
    id: ConnectionId,
    user: UserId,
    /// Replaced by a refresh, with one of the same user; held for a copy of the handle.
    identity: RwLock<Arc<Identity>>,
    /// The end of the token in milliseconds since the epoch, or `u64::MAX`: read before each
    /// effect, without the lock.
    expires_at: AtomicU64,
    client: ClientInfo,
    /// Milliseconds since the epoch.
    connected_at: u64,
    since: Instant,
    /// When something was read last, in milliseconds after `since`. Only ever looked at.
    received_after: AtomicU64,
    outbox: Arc<Outbox>,
    encode: Encode,
}

/// A token that says that somebody else is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token is another user's; a connection keeps its user")]
pub struct UserMismatch;

impl Connection {
    /// A connection of a verified identity; the token's device wins over the client's word.
    #[must_use]
    pub fn new(
        identity: Identity,
        client: ClientInfo,
        outbox: Arc<Outbox>,
        encode: Encode,
    ) -> Self {
        let Device { id, name } = client.device;
        let device = Device { id: identity.device.clone().or(id), name };
        let shared = Shared {
            id: new_connection_id(),
            user: identity.user.clone(),
            expires_at: AtomicU64::new(identity.expires_at.unwrap_or(u64::MAX)),
            identity: RwLock::new(Arc::new(identity)),
            client: ClientInfo { device, ..client },
            connected_at: now_ms(),
            since: Instant::now(),
            received_after: AtomicU64::new(0),
            outbox,
            encode,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &ConnectionId {
        &self.shared.id
    }

    /// Whose it is.
    #[must_use]
    pub fn user(&self) -> &UserId {
        &self.shared.user
    }

    /// Whose it is and what it may do now.
    #[must_use]
    pub fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.shared.identity.read())
    }

    /// Takes over what a new token of the same user allows.
    ///
    /// # Errors
    /// [`UserMismatch`] if it is another user's; nothing has changed.
    pub fn refresh(&self, identity: Identity) -> Result<(), UserMismatch> {
        if identity.user != self.shared.user {
            return Err(UserMismatch);
        }
        let mut current = self.shared.identity.write();
        let expires_at = identity.expires_at.unwrap_or(u64::MAX);
        self.shared.expires_at.store(expires_at, Ordering::Release);
        *current = Arc::new(identity);
        Ok(())
    }

    /// When its token ends, in milliseconds since the epoch.
    #[must_use]
    pub fn expires_at(&self) -> Option<u64> {
        Some(self.shared.expires_at.load(Ordering::Acquire)).filter(|end| *end != u64::MAX)
    }

    /// Whether it may have an effect now: it is open, and its token has not expired.
    ///
    /// # Errors
    /// The code with which it was closed, or is to be closed.
    pub fn may_act(&self) -> Result<(), CloseCode> {
        self.may_act_at(now_ms())
    }

    /// The same at a time that the caller has just looked at.
    ///
    /// # Errors
    /// As [`may_act`](Self::may_act).
    pub fn may_act_at(&self, now_ms: u64) -> Result<(), CloseCode> {
        match self.shared.outbox.close_code() {
            Some(code) => Err(CloseCode::from_code(code).unwrap_or(CloseCode::Normal)),
            None if self.has_expired(now_ms) => Err(CloseCode::TokenExpired),
            None => Ok(()),
        }
    }

    /// Whether its rights were not taken back: by an administrator, or by the end of its token.
    pub(crate) fn has_rights(&self) -> bool {
        let code = self.shared.outbox.close_code().and_then(CloseCode::from_code);
        !code.is_some_and(CloseCode::revokes) && !self.has_expired(now_ms())
    }

    fn has_expired(&self, now_ms: u64) -> bool {
        self.shared.expires_at.load(Ordering::Acquire) <= now_ms
    }

    /// The device that it comes from.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.shared.client.device
    }

    /// What is known of it from its handshake.
    #[must_use]
    pub fn client_info(&self) -> &ClientInfo {
        &self.shared.client
    }

    /// Notes that something was read from the peer (B9).
    pub fn record_received(&self) {
        let after = self.shared.since.elapsed().as_millis();
        self.shared
            .received_after
            .store(u64::try_from(after).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// When something was read last.
    #[must_use]
    pub fn heard_at(&self) -> Instant {
        self.shared.since
            + Duration::from_millis(self.shared.received_after.load(Ordering::Relaxed))
    }

    /// What lists show of it.
    #[must_use]
    pub fn info(&self) -> ConnectionInfo {
        let shared = &self.shared;
        ConnectionInfo {
            id: shared.id.clone(),
            user: shared.user.clone(),
            device: self.device().id.clone(),
            device_name: self.device().name.clone(),
            role_context: self.identity().role_context.as_deref().map(str::to_owned),
            address: shared.client.address,
            user_agent: shared.client.user_agent.as_deref().map(str::to_owned),
            connected_at: shared.connected_at,
            last_heard_at: shared.connected_at + shared.received_after.load(Ordering::Relaxed),
        }
    }

    /// Sends a message of the server to this connection (A3). Never waits.
    pub fn send(&self, reply_to: Option<&MessageId>, message: &ServerMessage) {
        self.send_text(&message::text(reply_to, message));
    }

    /// Sends an error.
    pub fn send_error(&self, reply_to: Option<&MessageId>, error: ErrorBody) {
        self.send(reply_to, &ServerMessage::Error(error));
    }

    /// Sends a text as it is.
    pub fn send_text(&self, text: &str) {
        self.push(PayloadKind::Text, &[text.as_bytes()]);
    }

    /// Sends bytes, laid one part after another.
    pub fn send_binary(&self, parts: &[&[u8]]) {
        self.push(PayloadKind::Binary, parts);
    }

    /// Ends it: what was queued before is sent first.
    pub fn close(&self, code: CloseCode) {
        self.shared.outbox.push(OutboxItem::Close(code.into()));
    }

    /// Where its messages wait.
    #[must_use]
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.shared.outbox
    }

    /// The member that it is wherever it is present.
    pub(crate) fn member(&self) -> Member {
        Member { user: self.shared.user.clone(), device: self.device().id.clone() }
    }

    fn push(&self, kind: PayloadKind, parts: &[&[u8]]) {
        self.shared.outbox.push(OutboxItem::Message((self.shared.encode)(kind, parts)));
    }
}

impl Authority for Connection {
    fn identity(&self) -> Arc<Identity> {
        self.identity()
    }

    fn check_at(&self, now_ms: u64) -> Result<(), ErrorBody> {
        self.may_act_at(now_ms).map_err(|code| match code {
            CloseCode::TokenExpired => ErrorCode::TokenExpired.into(),
            _ => ErrorBody::new(ErrorCode::NotAuthenticated, "the connection is closed".to_owned()),
        })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.shared.id)
            .field("user", &self.shared.user)
            .finish_non_exhaustive()
    }
}
