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

/// Results by user and key, each remembered for five minutes.
#[derive(Debug)]
pub struct Recent<K, V> {
    /// Held for a look-up or a change.
    state: Mutex<State<K, V>>,
}

#[derive(Debug)]
struct State<K, V> {
    results: HashMap<(UserId, K), Arc<OnceCell<V>>>,
    of_user: HashMap<UserId, usize>,
    /// All keys, oldest first.
    order: VecDeque<(Instant, (UserId, K))>,
}

/// There are so many keys that no other can be remembered for its five minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many keys were used within five minutes; try again later, or without a key")]
pub struct TooManyKeys;

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { state: Mutex::default() }
    }
}

impl<K, V> Default for State<K, V> {
    fn default() -> Self {
        Self { results: HashMap::new(), of_user: HashMap::new(), order: VecDeque::new() }
    }
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
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
        if let Some(result) = state.results.get(&key) {
            return Ok(Arc::clone(result));
        }
        let of_user = state.of_user.get(user).copied().unwrap_or_default();
        if of_user >= MAX_OF_USER || state.order.len() >= MAX {
            return Err(TooManyKeys);
        }
        Ok(state.insert(now, key, OnceCell::new()))
    }
}

/// A key of a user, its result, and how long ago it was, in milliseconds.
type Remembered<K, V> = ((UserId, K), V, u64);

impl<K: Clone + Eq + Hash, V: Clone> Recent<K, V> {
    /// All results that are there, oldest first.
    pub(crate) fn results(&self) -> Vec<Remembered<K, V>> {
        let state = self.state.lock();
        let results = state.order.iter().filter_map(|(at, key)| {
            let result = state.results.get(key)?.get()?.clone();
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
        *self.of_user.entry(key.0.clone()).or_default() += 1;
        self.results.insert(key.clone(), Arc::clone(&result));
        self.order.push_back((at, key));
        result
    }

    fn forget(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(at, _)| now.duration_since(*at) >= REMEMBERED) {
            let Some((_, key)) = self.order.pop_front() else { break };
            self.results.remove(&key);
            if let Some(count) = self.of_user.get_mut(&key.0) {
                *count -= 1;
                if *count == 0 {
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
