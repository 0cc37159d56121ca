//! Results by idempotency key, so that a retry gets the first result and is not executed again.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use rejoin_protocol::UserId;
use tokio::{sync::OnceCell, time::Instant};

use crate::{
    lock::{Mutex, level::LEAF},
    saved::age_ms,
};

/// The lifetime of a key: longer than the retries of any client.
pub(crate) const KEY_LIFETIME: Duration = Duration::from_secs(300);
/// The maximum number of keys of one user.
const MAX_KEYS_OF_USER: usize = 10_000;
/// The maximum number of keys of all users. Above it or [`MAX_BYTES`], the user with the most
/// bytes loses the oldest results, so that the largest users cannot refuse service to the others.
pub(crate) const MAX_KEYS: usize = 200_000;
/// The maximum size of the keys and results of one user.
const MAX_BYTES_OF_USER: usize = 16 * 1024 * 1024;
/// The maximum size of the keys and results of all users.
const MAX_BYTES: usize = 256 * 1024 * 1024;
/// The approximate size of a key, its user and its map entries.
const KEY_BYTES: usize = 512;

/// Results by user and key, each retained for five minutes.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use rejoin_core::IdempotencyCache;
/// use rejoin_protocol::UserId;
///
/// let cache = IdempotencyCache::default();
/// let ann = UserId::new("ann").unwrap();
///
/// for retry in 0..3 {
///     let cell = cache.result(&ann, "request-1").unwrap();
///     let result = cell.get_or_init(|| async { format!("executed in try {retry}") }).await;
///     assert_eq!(result, "executed in try 0");
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct IdempotencyCache<K, V> {
    state: Mutex<State<K, V>, LEAF>,
}

#[derive(Debug)]
struct State<K, V> {
    results: HashMap<(UserId, K), Entry<V>>,
    usage: HashMap<UserId, Usage>,
    /// The bytes of each user, smallest first.
    sizes: BTreeSet<(usize, UserId)>,
    /// All keys with their creation, by number: oldest first.
    order: BTreeMap<u64, (Instant, (UserId, K))>,
    /// The number of the next key.
    next: u64,
    /// Bytes of all entries.
    bytes: usize,
}

#[derive(Debug)]
struct Entry<V> {
    result: Arc<OnceCell<V>>,
    bytes: usize,
}

/// The entries of one user.
#[derive(Debug, Default)]
struct Usage {
    /// The numbers of the keys.
    keys: BTreeSet<u64>,
    bytes: usize,
}

/// A limit of the [`IdempotencyCache`] is reached.
///
/// A user's own limits evict no key before its lifetime ends.
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
        let (results, usage) = (HashMap::new(), HashMap::new());
        let (sizes, order) = (BTreeSet::new(), BTreeMap::new());
        Self { results, usage, sizes, order, next: 0, bytes: 0 }
    }
}

impl<K: Clone + Eq + Hash, V> IdempotencyCache<K, V> {
    /// Drops expired keys.
    pub fn expire(&self) {
        self.state.lock().expire(Instant::now());
    }

    /// Returns the cell of the key's result; empty until a request fills it.
    ///
    /// Concurrent requests with the same key share a cell, so all of them get one result.
    ///
    /// # Errors
    /// [`TooManyKeys`] if the key is new, and its user has reached a limit or all keys of all users
    /// are of requests that are still executed.
    pub fn result(&self, user: &UserId, key: K) -> Result<Arc<OnceCell<V>>, TooManyKeys> {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.expire(now);

        let key = (user.clone(), key);

        // A known key needs no room, so retries succeed at the limit.
        if let Some(entry) = state.results.get(&key) {
            return Ok(Arc::clone(&entry.result));
        }

        let is_full = state.usage.get(user).is_some_and(|usage| {
            usage.keys.len() >= MAX_KEYS_OF_USER || usage.bytes >= MAX_BYTES_OF_USER
        });
        if is_full {
            return Err(TooManyKeys);
        }

        while state.order.len() >= MAX_KEYS || state.bytes >= MAX_BYTES {
            let number = state.oldest_of_largest().ok_or(TooManyKeys)?;
            state.remove(number);
        }

        Ok(state.insert(now, key, OnceCell::new()))
    }

    /// Adds the size of a key's result to the bytes of its user, until the key expires.
    pub fn charge(&self, user: &UserId, key: K, bytes: usize) {
        let mut state = self.state.lock();

        // The key may have expired since.
        if let Some(entry) = state.results.get_mut(&(user.clone(), key)) {
            entry.bytes += bytes;
            state.bytes += bytes;
            state.resize(user, |usage| usage.bytes += bytes);
        }
    }
}

/// A user's key, its result, and its age in milliseconds.
type Retained<K, V> = ((UserId, K), V, u64);

impl<K: Clone + Eq + Hash, V: Clone> IdempotencyCache<K, V> {
    /// Returns all results, oldest first. Keys without a result yet are left out.
    pub(crate) fn results(&self) -> Vec<Retained<K, V>> {
        let state = self.state.lock();
        let results = state.order.values().filter_map(|(at, key)| {
            let result = state.results.get(key)?.result.get()?.clone();
            Some((key.clone(), result, age_ms(*at)))
        });
        results.collect()
    }

    /// Restores a result of another process. The caller restores the oldest first.
    pub(crate) fn restore(&self, user: &UserId, key: K, result: V, at: Instant) {
        let mut state = self.state.lock();
        // Without a check: the old process has enforced the limits.
        state.insert(at, (user.clone(), key), OnceCell::new_with(Some(result)));
        state.expire(Instant::now());
    }
}

impl<K: Clone + Eq + Hash, V> State<K, V> {
    fn insert(&mut self, at: Instant, key: (UserId, K), result: OnceCell<V>) -> Arc<OnceCell<V>> {
        let (result, number) = (Arc::new(result), self.next);
        self.next += 1;
        self.bytes += KEY_BYTES;
        self.resize(&key.0, |usage| {
            usage.keys.insert(number);
            usage.bytes += KEY_BYTES;
        });

        let entry = Entry { result: Arc::clone(&result), bytes: KEY_BYTES };
        self.results.insert(key.clone(), entry);
        self.order.insert(number, (at, key));
        result
    }

    /// Removes a key and its result.
    fn remove(&mut self, number: u64) {
        let Some((_, key)) = self.order.remove(&number) else { return };
        let bytes = self.results.remove(&key).map_or(0, |entry| entry.bytes);

        self.bytes -= bytes;
        self.resize(&key.0, |usage| {
            usage.keys.remove(&number);
            usage.bytes -= bytes;
        });
    }

    /// Changes the usage of a user, and its place among the users.
    fn resize(&mut self, user: &UserId, change: impl FnOnce(&mut Usage)) {
        let usage = self.usage.entry(user.clone()).or_default();
        self.sizes.remove(&(usage.bytes, user.clone()));
        change(usage);

        if usage.keys.is_empty() {
            self.usage.remove(user);
        } else {
            self.sizes.insert((usage.bytes, user.clone()));
        }
    }

    /// Returns the oldest key with a result of the user with the most bytes.
    ///
    /// A key without a result is of a request that is still executed: without the key, a retry
    /// would execute it a second time.
    fn oldest_of_largest(&self) -> Option<u64> {
        let has_result = |number: &&u64| {
            let (_, key) = &self.order[*number];
            self.results.get(key).is_some_and(|entry| entry.result.initialized())
        };
        let users = self.sizes.iter().rev();
        let mut oldest =
            users.filter_map(|(_, user)| self.usage[user].keys.iter().find(has_result));
        oldest.next().copied()
    }

    fn expire(&mut self, now: Instant) {
        // All keys have the same lifetime, so the oldest expires first.
        while let Some((&number, (at, _))) = self.order.first_key_value()
            && now.duration_since(*at) >= KEY_LIFETIME
        {
            self.remove(number);
        }

        if self.order.is_empty() {
            // The maps do not shrink by themselves: replace them after a burst.
            *self = Self::default();
        }
    }
}
