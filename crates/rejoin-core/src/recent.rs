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
        let result = Arc::new(OnceCell::new());
        state.results.insert(key.clone(), Arc::clone(&result));
        *state.of_user.entry(user.clone()).or_default() += 1;
        state.order.push_back((now, key));
        Ok(result)
    }
}

impl<K: Clone + Eq + Hash, V> State<K, V> {
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
