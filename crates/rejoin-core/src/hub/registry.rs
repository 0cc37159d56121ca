//! The registry of connections, by id, by user and by device.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    num::NonZeroUsize,
};

use rejoin_protocol::{ConnectionId, DeviceId, ErrorCode, UserId, message::ErrorBody};

use crate::{
    connection::Connection,
    lock::{Mutex, level::CONNECTION_REGISTRY},
};

/// The connections of a hub. Each lookup takes constant time, regardless of their number.
#[derive(Debug)]
pub(super) struct ConnectionRegistry {
    max_per_user: Option<NonZeroUsize>,
    state: Mutex<State, CONNECTION_REGISTRY>,
}

#[derive(Debug, Default)]
struct State {
    connections: HashMap<ConnectionId, Entry>,
    users: HashMap<UserId, Vec<Connection>>,
    devices: HashMap<(UserId, DeviceId), Vec<Connection>>,
}

#[derive(Debug)]
struct Entry {
    connection: Connection,
    /// The index in the list of the user.
    user_index: usize,
    /// The index in the list of the device.
    device_index: usize,
}

impl ConnectionRegistry {
    pub(super) fn new(max_per_user: Option<NonZeroUsize>) -> Self {
        Self { max_per_user, state: Mutex::default() }
    }

    /// Adds a connection. Calls `welcome` before any lookup can find it.
    ///
    /// # Errors
    /// `connection_limit`; `welcome` is not called.
    pub(super) fn insert(
        &self,
        connection: &Connection,
        welcome: impl FnOnce(),
    ) -> Result<(), ErrorBody> {
        let mut state = self.state.lock();
        // Check and insertion are one turn of the lock: the limit is exact under races.
        let count = state.of_user(connection.user()).len();
        if let Some(limit) = self.max_per_user
            && count >= limit.get()
        {
            let sentence =
                format!("the user has {limit} connections, the maximum; close one first");
            return Err(ErrorBody::new(ErrorCode::ConnectionLimit, sentence));
        }

        state.insert(connection);
        welcome();
        Ok(())
    }

    pub(super) fn remove(&self, connection: &Connection) {
        self.state.lock().remove(connection);
    }

    pub(super) fn get(&self, id: &ConnectionId) -> Option<Connection> {
        self.state.lock().connections.get(id).map(|entry| entry.connection.clone())
    }

    pub(super) fn of_user(&self, user: &UserId) -> Vec<Connection> {
        self.state.lock().of_user(user).to_vec()
    }

    pub(super) fn of_device(&self, user: &UserId, device: &DeviceId) -> Vec<Connection> {
        let state = self.state.lock();
        state.devices.get(&(user.clone(), device.clone())).cloned().unwrap_or_default()
    }

    pub(super) fn all(&self) -> Vec<Connection> {
        self.state.lock().connections.values().map(|entry| entry.connection.clone()).collect()
    }

    pub(super) fn count(&self) -> usize {
        self.state.lock().connections.len()
    }

    pub(super) fn count_of_user(&self, user: &UserId) -> usize {
        self.state.lock().of_user(user).len()
    }

    pub(super) fn user_count(&self) -> usize {
        self.state.lock().users.len()
    }

    /// Returns the first `max` connections after `after`, oldest first.
    pub(super) fn page(&self, after: Option<&ConnectionId>, max: usize) -> Vec<Connection> {
        let state = self.state.lock();

        // Ids sort by the time of their creation.
        let mut first = BTreeMap::new();
        for (id, entry) in &state.connections {
            // Most connections come after a full page and need no insertion.
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
}

impl State {
    fn of_user(&self, user: &UserId) -> &[Connection] {
        self.users.get(user).map_or(&[], Vec::as_slice)
    }

    fn insert(&mut self, connection: &Connection) {
        let user_index = push(self.users.entry(connection.user().clone()).or_default(), connection);
        let device_index = match device_key(connection) {
            Some(device) => push(self.devices.entry(device).or_default(), connection),
            None => 0,
        };

        let entry = Entry { connection: connection.clone(), user_index, device_index };
        self.connections.insert(connection.id().clone(), entry);
    }

    fn remove(&mut self, connection: &Connection) {
        let Some(entry) = self.connections.remove(connection.id()) else { return };
        if let Some(moved) = swap_remove(&mut self.users, connection.user(), entry.user_index) {
            // The last entry of the list has taken the free index.
            self.entry(&moved).user_index = entry.user_index;
        }

        if let Some(device) = device_key(connection)
            && let Some(moved) = swap_remove(&mut self.devices, &device, entry.device_index)
        {
            self.entry(&moved).device_index = entry.device_index;
        }
    }

    fn entry(&mut self, connection: &Connection) -> &mut Entry {
        self.connections.get_mut(connection.id()).expect("a listed connection is registered")
    }
}

fn device_key(connection: &Connection) -> Option<(UserId, DeviceId)> {
    Some((connection.user().clone(), connection.device().id.clone()?))
}

/// Appends to a list and returns the index.
fn push(list: &mut Vec<Connection>, connection: &Connection) -> usize {
    if list.is_empty() {
        // Most lists never get a second entry. The default would allocate four.
        list.reserve_exact(1);
    }
    list.push(connection.clone());
    list.len() - 1
}

/// Removes an entry from its list. Returns the connection that was moved to its index, if any.
fn swap_remove<K: Eq + Hash>(
    lists: &mut HashMap<K, Vec<Connection>>,
    key: &K,
    index: usize,
) -> Option<Connection> {
    let list = lists.get_mut(key)?;
    list.swap_remove(index);
    if list.is_empty() {
        lists.remove(key);
        return None;
    }

    list.get(index).cloned()
}
