//! A connection: one socket from one client, as the rest of the system knows it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rejoin_protocol::{
    ConnectionId, DeviceId, DeviceName, MessageId, UserId,
    message::{self, ErrorBody, ServerMessage},
};
use tokio::time::Instant;

use crate::{
    access::{Identity, new_connection_id},
    outbox::{Item, Outbox},
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

/// A handle to an authenticated connection.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
}

struct Shared {
    id: ConnectionId,
    identity: Identity,
    device: Device,
    outbox: Arc<Outbox>,
    encode: Encode,
    born_at: Instant,
    /// When something was read from the peer, in milliseconds since it was born. Written by the
    /// reading side only.
    heard: AtomicU64,
}

impl Connection {
    /// A connection of a verified identity; the token's device wins over the client's word.
    #[must_use]
    pub fn new(identity: Identity, device: Device, outbox: Arc<Outbox>, encode: Encode) -> Self {
        let device = Device { id: identity.device.clone().or(device.id), name: device.name };
        let shared = Shared {
            id: new_connection_id(),
            identity,
            device,
            outbox,
            encode,
            born_at: Instant::now(),
            heard: AtomicU64::new(0),
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
        &self.shared.identity.user
    }

    /// Whose it is and what it may do.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.shared.identity
    }

    /// The device that it comes from.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.shared.device
    }

    /// Notes that something was read from the peer.
    pub fn hear(&self) {
        let since = u64::try_from(self.shared.born_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.shared.heard.store(since, Ordering::Relaxed);
    }

    /// When something was read from the peer the last time.
    #[must_use]
    pub fn heard_at(&self) -> Instant {
        self.shared.born_at + Duration::from_millis(self.shared.heard.load(Ordering::Relaxed))
    }

    /// When its token ends, in milliseconds since the epoch; `None`: never.
    #[must_use]
    pub fn expires_at(&self) -> Option<u64> {
        self.shared.identity.expires_at
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

    /// Where its messages wait.
    #[must_use]
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.shared.outbox
    }

    fn push(&self, kind: Kind, parts: &[&[u8]]) {
        self.shared.outbox.push(Item::Message((self.shared.encode)(kind, parts)));
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.shared.id)
            .field("user", &self.shared.identity.user)
            .finish_non_exhaustive()
    }
}
