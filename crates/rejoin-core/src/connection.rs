//! A connection: one socket of one client, as the rest of the server knows it.

mod author;

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rejoin_protocol::{
    CloseCode, ConnectionId, ConnectionInfo, DeviceId, DeviceName, ErrorCode, MessageId, UserId,
    message::{self, ErrorBody, ServerMessage},
};
use tokio::time::Instant;

pub use author::Author;

use crate::{
    access::{Authority, Identity, new_connection_id},
    frame::{Encode, PayloadKind},
    lock::{RwLock, level::LEAF},
    outbox::{Outbox, OutboxItem},
    time::now_ms,
};

/// The device of a client, as the client describes it.
#[derive(Clone, Debug, Default)]
pub struct Device {
    /// The id, if the client sent one.
    pub id: Option<DeviceId>,
    /// The name that the user gave the device.
    pub name: Option<DeviceName>,
}

/// The client of a connection, as its WebSocket handshake describes it.
#[derive(Clone, Debug, Default)]
pub struct ClientInfo {
    /// The device.
    pub device: Device,
    /// The IP address, behind trusted proxies.
    pub address: Option<IpAddr>,
    /// The `User-Agent` header.
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
    /// Replaced by a refresh, always by an identity of the same user.
    identity: RwLock<Arc<Identity>, LEAF>,
    /// The end of the token in milliseconds since the Unix epoch; `u64::MAX` if it does not
    /// expire. Read before each effect, without the lock.
    expires_at: AtomicU64,
    client: ClientInfo,
    /// Milliseconds since the Unix epoch.
    connected_at: u64,
    since: Instant,
    /// The last receipt of data, in milliseconds after `since`. Orders nothing: relaxed access.
    received_after: AtomicU64,
    outbox: Arc<Outbox>,
    encode: Encode,
}

/// A token belongs to another user than the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token belongs to another user; open a new connection for it")]
pub struct UserMismatch;

impl Connection {
    /// Creates a connection of a verified identity.
    ///
    /// The device of the token takes precedence over the device that the client names.
    #[must_use]
    pub fn new(
        identity: Identity,
        client: ClientInfo,
        outbox: Arc<Outbox>,
        encode: Encode,
    ) -> Self {
        // The token is verified. The device that the client names is not.
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

    /// Returns the connection's id.
    #[must_use]
    pub fn id(&self) -> &ConnectionId {
        &self.shared.id
    }

    /// Returns the user, who never changes.
    #[must_use]
    pub fn user(&self) -> &UserId {
        &self.shared.user
    }

    /// Returns the identity of the newest token.
    #[must_use]
    pub fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.shared.identity.read())
    }

    /// Replaces the identity by that of a new token of the same user.
    ///
    /// # Errors
    /// [`UserMismatch`] if the token belongs to another user; nothing changes.
    pub fn refresh(&self, identity: Identity) -> Result<(), UserMismatch> {
        if identity.user != self.shared.user {
            return Err(UserMismatch);
        }

        // Both under the lock, so that two refreshes do not mix.
        let mut current = self.shared.identity.write();
        let expires_at = identity.expires_at.unwrap_or(u64::MAX);
        self.shared.expires_at.store(expires_at, Ordering::Release);
        *current = Arc::new(identity);
        Ok(())
    }

    /// Returns the end of the token, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn expires_at(&self) -> Option<u64> {
        Some(self.shared.expires_at.load(Ordering::Acquire)).filter(|end| *end != u64::MAX)
    }

    /// Checks that the connection is open and its token has not expired.
    ///
    /// # Errors
    /// The code with which the connection was closed, or will be closed.
    pub fn may_act(&self) -> Result<(), CloseCode> {
        self.may_act_at(now_ms())
    }

    /// Checks as [`may_act`](Self::may_act) does, for a caller that has already read the clock.
    ///
    /// # Errors
    /// As [`may_act`](Self::may_act).
    pub fn may_act_at(&self, now_ms: u64) -> Result<(), CloseCode> {
        match self.shared.outbox.close_code() {
            // A closed connection keeps its code, even if its token has expired since.
            Some(code) => Err(CloseCode::from_code(code).unwrap_or(CloseCode::Normal)),
            None if self.has_expired(now_ms) => Err(CloseCode::TokenExpired),
            None => Ok(()),
        }
    }

    /// Returns `false` once the token has expired or an administrator has ended the rights.
    ///
    /// Unlike [`may_act`](Self::may_act), stays `true` after an ordinary close.
    pub(crate) fn has_rights(&self) -> bool {
        let code = self.shared.outbox.close_code().and_then(CloseCode::from_code);
        !code.is_some_and(CloseCode::revokes) && !self.has_expired(now_ms())
    }

    fn has_expired(&self, now_ms: u64) -> bool {
        self.shared.expires_at.load(Ordering::Acquire) <= now_ms
    }

    /// Returns the device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.shared.client.device
    }

    /// Returns the client of the connection.
    #[must_use]
    pub fn client_info(&self) -> &ClientInfo {
        &self.shared.client
    }

    /// Records that data was received from the peer.
    pub fn record_received(&self) {
        let after = self.shared.since.elapsed().as_millis();
        let after = u64::try_from(after).unwrap_or(u64::MAX);
        self.shared.received_after.store(after, Ordering::Relaxed);
    }

    /// Returns the time of the last receipt of data.
    #[must_use]
    pub fn last_received_at(&self) -> Instant {
        let after = self.shared.received_after.load(Ordering::Relaxed);
        self.shared.since + Duration::from_millis(after)
    }

    /// Returns the connection's entry in lists.
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

    /// Queues a message for the client. Never blocks.
    pub fn send(&self, reply_to: Option<&MessageId>, message: &ServerMessage) {
        self.send_text(&message::text(reply_to, message));
    }

    /// Queues an error for the client.
    pub fn send_error(&self, reply_to: Option<&MessageId>, error: ErrorBody) {
        self.send(reply_to, &ServerMessage::Error(error));
    }

    /// Queues a text message unchanged.
    pub fn send_text(&self, text: &str) {
        self.push(PayloadKind::Text, &[text.as_bytes()]);
    }

    /// Queues a binary message: `parts`, concatenated.
    pub fn send_binary(&self, parts: &[&[u8]]) {
        self.push(PayloadKind::Binary, parts);
    }

    /// Closes the connection after the messages that are queued.
    pub fn close(&self, code: CloseCode) {
        self.shared.outbox.push(OutboxItem::Close(code.into()));
    }

    /// Returns the queue of the connection's messages.
    #[must_use]
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.shared.outbox
    }

    fn push(&self, kind: PayloadKind, parts: &[&[u8]]) {
        // A reply has one reader: it needs no shared frame.
        self.shared.outbox.push(OutboxItem::Message((self.shared.encode)(kind, parts)));
    }
}

impl Authority for Connection {
    fn identity(&self) -> Arc<Identity> {
        self.identity()
    }

    fn check_at(&self, now_ms: u64) -> Result<(), ErrorBody> {
        self.may_act_at(now_ms).map_err(|code| match code {
            // Only an expiry has an error of its own. The client gets other causes as a close code.
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
