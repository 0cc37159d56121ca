//! The registry: all connections, by id, by user and by device, and the users' own streams.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroUsize,
};

use parking_lot::Mutex;
use rejoin_protocol::{
    CloseCode, ConnectionId, DeviceId, ErrorCode, UserId,
    message::{ErrorBody, ImplicitPositions, ImplicitStreamStarts},
};

use crate::{
    connection::Connection,
    events::HubEvent,
    hub::{
        Hub,
        own_streams::{KeptStreams, Starts},
    },
    presence::Stay,
};

/// All connections. Each look-up takes the same time, whatever their number (C3).
#[derive(Debug, Default)]
pub(super) struct Registry {
    /// Held for a look-up or a change, with what a new connection is told first, so that nothing
    /// that is emitted comes before it. Taken before an outbox's lock and a stream's.
    pub(super) state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    connections: HashMap<ConnectionId, Entry>,
    users: HashMap<UserId, Vec<Connection>>,
    devices: HashMap<(UserId, DeviceId), Vec<Connection>>,
    /// What was emitted to users and devices; there once something was.
    pub(super) own_streams: KeptStreams,
}

#[derive(Debug)]
struct Entry {
    connection: Connection,
    /// Its place among the user's connections.
    of_user: usize,
    /// Its place among the device's connections.
    of_device: usize,
}

impl State {
    pub(super) fn of_user(&self, user: &UserId) -> &[Connection] {
        self.users.get(user).map_or(&[], Vec::as_slice)
    }

    pub(super) fn of_device(&self, device: &(UserId, DeviceId)) -> &[Connection] {
        self.devices.get(device).map_or(&[], Vec::as_slice)
    }

    fn insert(&mut self, connection: &Connection) {
        let of_user = push(self.users.entry(connection.user().clone()).or_default(), connection);
        let of_device = match device(connection) {
            Some(device) => push(self.devices.entry(device).or_default(), connection),
            None => 0,
        };
        let entry = Entry { connection: connection.clone(), of_user, of_device };
        self.connections.insert(connection.id().clone(), entry);
    }

    fn remove(&mut self, connection: &Connection) {
        let Some(entry) = self.connections.remove(connection.id()) else { return };
        if let Some(moved) = take(&mut self.users, connection.user(), entry.of_user) {
            self.entry(&moved).of_user = entry.of_user;
        }
        if let Some(device) = device(connection)
            && let Some(moved) = take(&mut self.devices, &device, entry.of_device)
        {
            self.entry(&moved).of_device = entry.of_device;
        }
    }

    fn entry(&mut self, connection: &Connection) -> &mut Entry {
        self.connections.get_mut(connection.id()).expect("who is listed is registered")
    }
}

fn device(connection: &Connection) -> Option<(UserId, DeviceId)> {
    Some((connection.user().clone(), connection.device().id.clone()?))
}

/// Adds to a list, most of which stay with one entry; returns the place.
fn push(list: &mut Vec<Connection>, connection: &Connection) -> usize {
    if list.is_empty() {
        list.reserve_exact(1);
    }
    list.push(connection.clone());
    list.len() - 1
}

/// Takes one connection from its list; returns who has its place afterwards.
fn take<K: Eq + std::hash::Hash>(
    lists: &mut HashMap<K, Vec<Connection>>,
    key: &K,
    place: usize,
) -> Option<Connection> {
    let list = lists.get_mut(key)?;
    list.swap_remove(place);
    if list.is_empty() {
        lists.remove(key);
        return None;
    }
    list.get(place).cloned()
}

/// A connection's place in the hub; dropping it leaves (A7).
#[derive(Debug)]
pub struct Membership {
    hub: Hub,
    connection: Connection,
    /// Given up with it: who is gone for longer than the grace period has left.
    _stay: Stay,
}

impl Membership {
    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.hub.shared.registry.state.lock().remove(&self.connection);
        self.hub.shared.metrics.connections.dec();
        self.hub.tell(HubEvent::Disconnected { connection: self.connection.clone() });
    }
}

impl Hub {
    /// Registers a connection until the guard is dropped.
    ///
    /// `welcome` tells it what it reads unasked, and where that begins; it is called before
    /// anything else can reach the connection.
    ///
    /// # Errors
    /// `connection_limit` if the user has as many connections as allowed.
    pub fn join(
        &self,
        connection: Connection,
        positions: &ImplicitPositions,
        welcome: impl FnOnce(ImplicitStreamStarts),
    ) -> Result<Membership, ErrorBody> {
        let limit = self.shared.config.limits.connections_per_user;
        {
            let mut state = self.shared.registry.state.lock();
            let there = state.of_user(connection.user()).len();
            if limit.is_some_and(|limit| there >= limit.get()) {
                let limit = limit.map_or(0, NonZeroUsize::get);
                let sentence = format!("the user has {limit} connections, which is the limit");
                return Err(ErrorBody::new(ErrorCode::ConnectionLimit, sentence));
            }
            state.insert(&connection);
            let Starts { told, reads } = self.own_starts(&state, &connection, positions);
            welcome(told);
            for read in reads {
                connection.outbox().push(read);
            }
        }
        self.shared.metrics.connections.inc();
        self.shared.metrics.connections_total.inc();
        self.tell(HubEvent::Connected { connection: connection.clone() });
        let stay = self.shared.everyone_place.enter(&connection);
        Ok(Membership { hub: self.clone(), connection, _stay: stay })
    }

    /// Looks up a connection.
    #[must_use]
    pub fn connection(&self, id: &ConnectionId) -> Option<Connection> {
        let state = self.shared.registry.state.lock();
        state.connections.get(id).map(|entry| entry.connection.clone())
    }

    /// A user's connections, on all devices.
    #[must_use]
    pub fn connections_of(&self, user: &UserId) -> Vec<Connection> {
        self.shared.registry.state.lock().of_user(user).to_vec()
    }

    /// The connections of one of a user's devices.
    #[must_use]
    pub fn connections_of_device(&self, user: &UserId, device: &DeviceId) -> Vec<Connection> {
        let key = (user.clone(), device.clone());
        self.shared.registry.state.lock().of_device(&key).to_vec()
    }

    /// How many connections a user has.
    #[must_use]
    pub fn connection_count_of(&self, user: &UserId) -> usize {
        self.shared.registry.state.lock().of_user(user).len()
    }

    /// How many connections there are.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.shared.registry.state.lock().connections.len()
    }

    /// How many users are connected.
    #[must_use]
    pub fn user_count(&self) -> usize {
        self.shared.registry.state.lock().users.len()
    }

    /// The first `max` connections after `after`, oldest first.
    #[must_use]
    pub fn connections(&self, after: Option<&ConnectionId>, max: usize) -> Vec<Connection> {
        let state = self.shared.registry.state.lock();
        // Ids are in the order of time.
        let mut first = BTreeMap::new();
        for (id, entry) in &state.connections {
            let is_late = first.len() >= max && first.last_key_value().is_none_or(|(l, _)| id > *l);
            if !is_late && after.is_none_or(|after| id > after) {
                first.insert(id, &entry.connection);
                if first.len() > max {
                    first.pop_last();
                }
            }
        }
        first.into_values().cloned().collect()
    }

    /// Ends all connections of which `which` says so; returns how many.
    pub fn disconnect(&self, code: CloseCode, which: impl Fn(&Connection) -> bool) -> usize {
        let state = self.shared.registry.state.lock();
        let mut chosen: Vec<_> =
            state.connections.values().map(|entry| entry.connection.clone()).collect();
        drop(state);
        // Called with no lock held: it may look at the hub.
        chosen.retain(|connection| which(connection));
        for connection in &chosen {
            connection.close(code);
        }
        chosen.len()
    }
}
