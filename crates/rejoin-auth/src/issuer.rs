//! The keys of an issuer, fetched by one task that owns them.

mod fetch;

use std::{collections::HashMap, sync::Arc, time::Duration};

use jsonwebtoken::{Algorithm, Validation};
use rejoin_core::Shutdown;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};
use tracing::{debug, info, warn};

pub use fetch::JwksUrl;
use fetch::{FetchError, Fetcher};

use crate::token::{
    Claims, InvalidKey, TokenError, jwk,
    key::{KeySet, UnverifiedToken},
};

/// The interval of regular fetches: the longest time that a withdrawn key is trusted.
const REFRESH: Duration = Duration::from_secs(10 * 60);
/// The pause after the first failed fetch. Doubles with each failure, up to [`REFRESH`].
const FIRST_RETRY: Duration = Duration::from_secs(5);
/// The shortest pause between a fetch and one that a token causes. Without it, clients could
/// cause any number of fetches with tokens that name unknown keys.
const DEMAND_PAUSE: Duration = Duration::from_secs(30);

/// A handle to the keys of an issuer.
#[derive(Clone, Debug)]
pub(crate) struct Issuer {
    state: watch::Receiver<State>,
    /// Wakes the owner when a token names an unknown key.
    demand: Arc<Notify>,
}

/// The keys, and the state of their fetches.
#[derive(Clone, Debug)]
struct State {
    /// Empty until the first successful fetch. A failed fetch keeps the keys.
    keys: Arc<KeySet>,
    /// The last fetch has failed.
    failed: bool,
    /// A fetch is under way.
    fetching: bool,
    /// The number of completed fetches.
    rounds: u64,
    /// The time from which a token may cause a fetch.
    next_on_demand: Instant,
}

impl State {
    /// Returns `true` if a fetch is under way, or may start on demand.
    fn can_refresh(&self) -> bool {
        self.fetching || Instant::now() >= self.next_on_demand
    }
}

/// The reason why a fetch yielded no keys.
#[derive(Debug, thiserror::Error)]
enum RefreshError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Keys(#[from] InvalidKey),
}

impl Issuer {
    /// Starts the task that owns the keys. It ends when the shutdown begins.
    ///
    /// # Errors
    /// [`InvalidKey::Roots`] if the machine trusts no certificate authority.
    pub(crate) fn start(url: JwksUrl, shutdown: &Shutdown) -> Result<Self, InvalidKey> {
        let fetcher = Fetcher::new(url, shutdown)?;
        let state = State {
            keys: Arc::default(),
            failed: false,
            // Makes tokens wait for the first fetch.
            fetching: true,
            rounds: 0,
            next_on_demand: Instant::now(),
        };
        let (state_tx, state) = watch::channel(state);
        let demand = Arc::new(Notify::new());
        let owner = Owner { fetcher, state_tx, demand: Arc::clone(&demand), retry: FIRST_RETRY };

        let stop = shutdown.clone();
        shutdown.spawn(async move {
            tokio::select! {
                () = owner.run() => {}
                () = stop.begun() => {}
            }
        });
        Ok(Self { state, demand })
    }

    /// Returns `true` if a token with this key id should wait for [`refresh`](Self::refresh).
    pub(crate) fn should_refresh(&self, key_id: Option<&str>) -> bool {
        let state = self.state.borrow();
        // Without a `kid`, any known key may verify the token, so no fetch is needed.
        let known = !state.keys.is_empty() && key_id.is_none_or(|id| state.keys.has_id(id));
        !known && state.can_refresh()
    }

    /// Waits for the end of the next fetch. Concurrent callers share one fetch.
    ///
    /// Cancel safe.
    pub(crate) async fn refresh(&self) {
        let mut state = self.state.clone();
        let rounds = {
            let state = state.borrow_and_update();
            // A fetch may have ended since `should_refresh`; then no other one may start.
            if !state.can_refresh() {
                return;
            }
            state.rounds
        };

        // The owner may be fetching already. Then it starts no other fetch, because of
        // `DEMAND_PAUSE`.
        self.demand.notify_one();
        // An error means that the owner has ended: the current keys are final.
        let _ = state.wait_for(|state| state.rounds > rounds).await;
    }

    /// Verifies a token with the current keys, as [`KeySet::verify`].
    pub(crate) fn verify(
        &self,
        token: &UnverifiedToken<'_>,
        validations: &HashMap<Algorithm, Validation>,
    ) -> Result<Claims, TokenError> {
        let State { keys, failed, .. } = self.state.borrow().clone();
        if keys.is_empty() {
            return Err(TokenError::KeysUnavailable);
        }
        match keys.verify(token, validations) {
            // The issuer may have a newer key that could not be fetched.
            Err(TokenError::UnknownKey) if failed => Err(TokenError::KeysUnavailable),
            result => result,
        }
    }

    /// Returns the names of the keys' algorithms, for an error message.
    pub(crate) fn algorithms(&self) -> String {
        self.state.borrow().keys.algorithms()
    }
}

struct Owner {
    fetcher: Fetcher,
    state_tx: watch::Sender<State>,
    demand: Arc<Notify>,
    /// The pause after the next failure.
    retry: Duration,
}

impl Owner {
    async fn run(mut self) {
        loop {
            // Before the request: tokens that arrive now wait for it and cause no other one.
            self.state_tx.send_modify(|state| {
                state.fetching = true;
                state.next_on_demand = Instant::now() + DEMAND_PAUSE;
            });

            let result = self.fetch().await;
            // The pause counts from the end, so that a slow issuer is not called again at once.
            let next = Instant::now() + self.pause_after(&result);
            self.publish(result);

            tokio::select! {
                () = sleep_until(next) => {}
                () = self.demanded() => {}
            }
        }
    }

    async fn fetch(&self) -> Result<KeySet, RefreshError> {
        Ok(jwk::parse_issuer(&self.fetcher.fetch().await?)?)
    }

    fn pause_after(&mut self, result: &Result<KeySet, RefreshError>) -> Duration {
        match result {
            Ok(_) => {
                self.retry = FIRST_RETRY;
                REFRESH
            }
            Err(_) => {
                let pause = self.retry;
                self.retry = REFRESH.min(pause * 2);
                pause
            }
        }
    }

    /// Publishes the result of a fetch. Logs above `debug` only if the outcome has changed.
    fn publish(&self, result: Result<KeySet, RefreshError>) {
        let (url, before) = (&self.fetcher, self.state_tx.borrow().clone());
        let is_first = before.rounds == 0;
        match &result {
            Ok(keys) if is_first || before.failed => {
                info!(%url, count = keys.len(), "keys fetched");
            }
            Ok(keys) => debug!(%url, count = keys.len(), "keys fetched"),
            Err(error) if is_first || !before.failed => {
                let known = before.keys.len();
                warn!(%url, %error, known, "cannot fetch the issuer's keys; known keys stay valid, retrying");
            }
            Err(error) => debug!(%url, %error, "cannot fetch keys"),
        }

        self.state_tx.send_modify(|state| {
            state.rounds += 1;
            state.fetching = false;
            state.failed = result.is_err();
            if let Ok(keys) = result {
                state.keys = Arc::new(keys);
            }
        });
    }

    /// Completes when a token may cause a fetch. Cancel safe.
    async fn demanded(&self) {
        loop {
            self.demand.notified().await;
            if Instant::now() >= self.state_tx.borrow().next_on_demand {
                return;
            }
        }
    }
}
