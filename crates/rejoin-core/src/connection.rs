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
    CloseCode, ConnectionId, ConnectionInfo, DeviceId, DeviceName, MessageId, UserId,
    message::{self, ErrorBody, ServerMessage},
};
use tokio::time::Instant;

use crate::{
    access::{Identity, new_connection_id},
    outbox::{Item, Outbox},
    presence::Member,
    time::now_ms,
    wire::{Encode, Kind},
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
pub struct Handshake {
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
    handshake: Handshake,
    /// Milliseconds since the epoch.
    connected_at: u64,
    since: Instant,
    /// When something was read last, in milliseconds after `since`. Only ever looked at.
    heard_after: AtomicU64,
    outbox: Arc<Outbox>,
    encode: Encode,
}

/// A token that says that somebody else is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token is another user's; a connection keeps its user")]
pub struct AnotherUser;

impl Connection {
    /// A connection of a verified identity; the token's device wins over the client's word.
    #[must_use]
    pub fn new(
        identity: Identity,
        handshake: Handshake,
        outbox: Arc<Outbox>,
        encode: Encode,
    ) -> Self {
        let Device { id, name } = handshake.device;
        let device = Device { id: identity.device.clone().or(id), name };
        let shared = Shared {
            id: new_connection_id(),
            user: identity.user.clone(),
            identity: RwLock::new(Arc::new(identity)),
            handshake: Handshake { device, ..handshake },
            connected_at: now_ms(),
            since: Instant::now(),
            heard_after: AtomicU64::new(0),
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
    /// [`AnotherUser`] if it is another user's; nothing has changed.
    pub fn refresh(&self, identity: Identity) -> Result<(), AnotherUser> {
        if identity.user != self.shared.user {
            return Err(AnotherUser);
        }
        *self.shared.identity.write() = Arc::new(identity);
        Ok(())
    }

    /// When its token ends, in milliseconds since the epoch.
    #[must_use]
    pub fn expires_at(&self) -> Option<u64> {
        self.shared.identity.read().expires_at
    }

    /// The device that it comes from.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.shared.handshake.device
    }

    /// What is known of it from its handshake.
    #[must_use]
    pub fn handshake(&self) -> &Handshake {
        &self.shared.handshake
    }

    /// Notes that something was read from the peer (B9).
    pub fn hear(&self) {
        let after = self.shared.since.elapsed().as_millis();
        self.shared.heard_after.store(u64::try_from(after).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// When something was read last.
    #[must_use]
    pub fn heard_at(&self) -> Instant {
        self.shared.since + Duration::from_millis(self.shared.heard_after.load(Ordering::Relaxed))
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
            address: shared.handshake.address,
            user_agent: shared.handshake.user_agent.as_deref().map(str::to_owned),
            connected_at: shared.connected_at,
            last_heard_at: shared.connected_at + shared.heard_after.load(Ordering::Relaxed),
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
        self.push(Kind::Text, &[text.as_bytes()]);
    }

    /// Sends bytes, laid one part after another.
    pub fn send_binary(&self, parts: &[&[u8]]) {
        self.push(Kind::Binary, parts);
    }

    /// Ends it: what was queued before is sent first.
    pub fn close(&self, code: CloseCode) {
        self.shared.outbox.push(Item::Close(code.into()));
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

    fn push(&self, kind: Kind, parts: &[&[u8]]) {
        self.shared.outbox.push(Item::Message((self.shared.encode)(kind, parts)));
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
