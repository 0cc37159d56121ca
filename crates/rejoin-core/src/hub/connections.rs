//! Connections of a hub: registration and lookups.

use rejoin_protocol::{
    CloseCode, ConnectionId, DeviceId, UserId,
    message::{ErrorBody, ImplicitPositions, ImplicitStreamStarts},
};

use crate::{
    connection::Connection,
    events::HubEvent,
    hub::{Hub, implicit_streams::Starts},
    presence::PresenceGuard,
};

/// A connection's registration with the hub; dropping it ends the registration.
#[derive(Debug)]
pub struct Registration {
    hub: Hub,
    connection: Connection,
    /// The user goes offline one grace period after the last guard is dropped.
    _presence: PresenceGuard,
}

impl Registration {
    /// Returns the connection.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // Before the event: its handler must not find the connection.
        self.hub.shared.connections.remove(&self.connection);
        self.hub.shared.metrics.connections.dec();
        self.hub.notify(HubEvent::Disconnected { connection: self.connection.clone() });
    }
}

impl Hub {
    /// Registers a connection until the guard is dropped, and starts its implicit readers.
    ///
    /// `welcome` receives the starts of these readers. It is called before anything else can
    /// reach the connection, with locks held: it must not call the hub.
    ///
    /// # Errors
    /// `connection_limit` if the user has the maximum number of connections.
    pub fn register(
        &self,
        connection: Connection,
        positions: &ImplicitPositions,
        welcome: impl FnOnce(ImplicitStreamStarts),
    ) -> Result<Registration, ErrorBody> {
        let shared = &self.shared;
        shared.implicit_streams.with_starts(&connection, positions, |starts| {
            let Starts { answer, reads } = starts;
            shared.connections.insert(&connection, || {
                welcome(answer);
                for read in reads {
                    connection.outbox().push(read);
                }
            })
        })?;

        // Without the locks: an event handler and presence take their own.
        shared.metrics.connections.inc();
        shared.metrics.connections_total.inc();
        self.notify(HubEvent::Connected { connection: connection.clone() });
        let presence = shared.online.enter(&connection);
        Ok(Registration { hub: self.clone(), connection, _presence: presence })
    }

    /// Returns a connection.
    #[must_use]
    pub fn connection(&self, id: &ConnectionId) -> Option<Connection> {
        self.shared.connections.get(id)
    }

    /// Returns a user's connections on all devices.
    #[must_use]
    pub fn connections_of(&self, user: &UserId) -> Vec<Connection> {
        self.shared.connections.of_user(user)
    }

    /// Returns the connections of one of a user's devices.
    #[must_use]
    pub fn connections_of_device(&self, user: &UserId, device: &DeviceId) -> Vec<Connection> {
        self.shared.connections.of_device(user, device)
    }

    /// Returns the number of a user's connections.
    #[must_use]
    pub fn connection_count_of(&self, user: &UserId) -> usize {
        self.shared.connections.count_of_user(user)
    }

    /// Returns the number of connections.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.shared.connections.count()
    }

    /// Returns the number of connected users.
    #[must_use]
    pub fn user_count(&self) -> usize {
        self.shared.connections.user_count()
    }

    /// Returns the first `max` connections after `after`, oldest first.
    #[must_use]
    pub fn connections(&self, after: Option<&ConnectionId>, max: usize) -> Vec<Connection> {
        self.shared.connections.page(after, max)
    }

    /// Closes all connections that match `filter`, and returns their number.
    pub fn disconnect(&self, code: CloseCode, filter: impl Fn(&Connection) -> bool) -> usize {
        let mut connections = self.shared.connections.all();

        // Without a lock: the filter may call the hub.
        connections.retain(|connection| filter(connection));

        for connection in &connections {
            connection.close(code);
        }

        connections.len()
    }
}
