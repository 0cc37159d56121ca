//! What was done lately, by key: so that a retry is answered and not done again.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rejoin_protocol::UserId;
use tokio::{sync::OnceCell, time::Instant};

use crate::saved::age_ms;

/// How long a key is remembered.
const REMEMBERED: Duration = Duration::from_secs(300);
/// Keys that are remembered for one user.
const MAX_OF_USER: usize = 10_000;
/// Keys that are remembered in all.
const MAX: usize = 200_000;
/// Bytes that the keys and results of one user may take.
const MAX_BYTES_OF_USER: usize = 16 * 1024 * 1024;
/// Bytes that they may take in all.
const MAX_BYTES: usize = 256 * 1024 * 1024;
/// Bytes that a key takes, with its user and its place in the maps.
const KEY_BYTES: usize = 512;

/// Results by user and key, each remembered for five minutes.
#[derive(Debug)]
pub struct IdempotencyCache<K, V> {
    /// Held for a look-up or a change.
    state: Mutex<State<K, V>>,
}

#[derive(Debug)]
struct State<K, V> {
    results: HashMap<(UserId, K), Entry<V>>,
    of_user: HashMap<UserId, Use>,
    /// All keys, oldest first.
    order: VecDeque<(Instant, (UserId, K))>,
    /// Bytes of all entries.
    bytes: usize,
}

#[derive(Debug)]
struct Entry<V> {
    result: Arc<OnceCell<V>>,
    bytes: usize,
}

/// How much one user uses.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    keys: usize,
    bytes: usize,
}

/// There are so many keys that no other can be remembered for its five minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many keys were used within five minutes; try again later, or without a key")]
pub struct TooManyKeys;

impl<K, V> Default for IdempotencyCache<K, V> {
    fn default() -> Self {
        Self { state: Mutex::default() }
    }
}

impl<K, V> Default for State<K, V> {
    fn default() -> Self {
        let (results, of_user) = (HashMap::new(), HashMap::new());
        Self { results, of_user, order: VecDeque::new(), bytes: 0 }
    }
}

impl<K: Clone + Eq + Hash, V> IdempotencyCache<K, V> {
    /// Forgets what is older than five minutes.
    pub fn forget(&self) {
        self.state.lock().forget(Instant::now());
    }

    /// The result of the key; empty until somebody has it. Whoever comes at the same time gets
    /// the same cell, and so waits for one result.
    ///
    /// # Errors
    /// [`TooManyKeys`] if the key is new and cannot be remembered.
    pub fn result(&self, user: &UserId, key: K) -> Result<Arc<OnceCell<V>>, TooManyKeys> {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.forget(now);
        let key = (user.clone(), key);
        if let Some(entry) = state.results.get(&key) {
            return Ok(Arc::clone(&entry.result));
        }
        let of_user = state.of_user.get(user).copied().unwrap_or_default();
        let is_full = of_user.keys >= MAX_OF_USER
            || of_user.bytes >= MAX_BYTES_OF_USER
            || state.order.len() >= MAX
            || state.bytes >= MAX_BYTES;
        if is_full {
            return Err(TooManyKeys);
        }
        Ok(state.insert(now, key, OnceCell::new()))
    }

    /// Counts the bytes of a result, which is not of constant size, until the key is forgotten.
    pub fn charge(&self, user: &UserId, key: K, bytes: usize) {
        let mut state = self.state.lock();
        let state = &mut *state;
        if let Some(entry) = state.results.get_mut(&(user.clone(), key)) {
            entry.bytes += bytes;
            state.bytes += bytes;
            state.of_user.entry(user.clone()).or_default().bytes += bytes;
        }
    }
}

/// A key of a user, its result, and how long ago it was, in milliseconds.
type Remembered<K, V> = ((UserId, K), V, u64);

impl<K: Clone + Eq + Hash, V: Clone> IdempotencyCache<K, V> {
    /// All results that are there, oldest first.
    pub(crate) fn results(&self) -> Vec<Remembered<K, V>> {
        let state = self.state.lock();
        let results = state.order.iter().filter_map(|(at, key)| {
            let result = state.results.get(key)?.result.get()?.clone();
            Some((key.clone(), result, age_ms(*at)))
        });
        results.collect()
    }

    /// Remembers a result of another process; to be called with the oldest first.
    pub(crate) fn remember(&self, user: &UserId, key: K, result: V, at: Instant) {
        let mut state = self.state.lock();
        state.insert(at, (user.clone(), key), OnceCell::new_with(Some(result)));
        state.forget(Instant::now());
    }
}

impl<K: Clone + Eq + Hash, V> State<K, V> {
    fn insert(&mut self, at: Instant, key: (UserId, K), result: OnceCell<V>) -> Arc<OnceCell<V>> {
        let result = Arc::new(result);
        let of_user = self.of_user.entry(key.0.clone()).or_default();
        of_user.keys += 1;
        of_user.bytes += KEY_BYTES;
        self.bytes += KEY_BYTES;
        let entry = Entry { result: Arc::clone(&result), bytes: KEY_BYTES };
        self.results.insert(key.clone(), entry);
        self.order.push_back((at, key));
        result
    }

    fn forget(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(at, _)| now.duration_since(*at) >= REMEMBERED) {
            let Some((_, key)) = self.order.pop_front() else { break };
            let bytes = self.results.remove(&key).map_or(0, |entry| entry.bytes);
            self.bytes -= bytes;
            if let Some(of_user) = self.of_user.get_mut(&key.0) {
                of_user.keys -= 1;
                of_user.bytes -= bytes;
                if of_user.keys == 0 {
                    self.of_user.remove(&key.0);
                }
            }
        }
        if self.order.is_empty() {
            // Room for many keys is not kept for few.
            *self = Self::default();
        }
    }
}
