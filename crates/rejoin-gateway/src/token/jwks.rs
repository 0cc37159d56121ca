//! The keys of an issuer, fetched by one task that owns them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jsonwebtoken::{Algorithm, Validation};
use rejoin_core::Shutdown;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};
use tracing::{debug, info, warn};

use crate::token::{
    Claims, InvalidKey, TokenError,
    fetch::{FetchError, Fetcher},
    jwk,
    key::{KeySet, Signed},
};

/// How often keys are fetched anew: so long may a withdrawn key be trusted.
const REFRESH: Duration = Duration::from_secs(10 * 60);
/// How soon an issuer that does not answer is asked again; twice as late each time.
const FIRST_RETRY: Duration = Duration::from_secs(5);
/// How long keys are not fetched again because of a token: anybody can make up unknown keys.
const AT_NEED_PAUSE: Duration = Duration::from_secs(30);

/// The keys of an issuer; a handle.
#[derive(Clone, Debug)]
pub(super) struct Issuer {
    state: watch::Receiver<State>,
    /// Wakes the owner when a token names an unknown key.
    wanted: Arc<Notify>,
}

/// What the owner knows.
#[derive(Clone, Debug)]
struct State {
    /// Empty until the issuer has answered once; never emptied again.
    keys: Arc<KeySet>,
    /// Whether the last answer was of no use.
    failed: bool,
    /// Whether an answer is awaited.
    fetching: bool,
    /// Attempts that have ended.
    rounds: u64,
    /// From when on a token may cause another attempt.
    next_at_need: Instant,
}

impl State {
    /// Whether an attempt is under way, or begins if it is asked for.
    fn will_answer(&self) -> bool {
        self.fetching || Instant::now() >= self.next_at_need
    }
}

/// Why an answer was of no use.
#[derive(Debug, thiserror::Error)]
enum RefreshError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Keys(#[from] InvalidKey),
}

impl Issuer {
    /// Starts the task that owns the keys.
    pub(super) fn start(fetcher: Fetcher, shutdown: &Shutdown) -> Self {
        let state = State {
            keys: Arc::default(),
            failed: false,
            // Who comes before the first answer waits for it.
            fetching: true,
            rounds: 0,
            next_at_need: Instant::now(),
        };
        let (state_tx, state) = watch::channel(state);
        let wanted = Arc::new(Notify::new());
        let owner = Owner { fetcher, state_tx, wanted: Arc::clone(&wanted), retry: FIRST_RETRY };
        let stop = shutdown.clone();
        shutdown.spawn(async move {
            tokio::select! {
                () = owner.run() => {}
                () = stop.begun() => {}
            }
        });
        Self { state, wanted }
    }

    /// Whether a token that names this key is worth a question to the issuer.
    pub(super) fn should_ask(&self, key_id: Option<&str>) -> bool {
        let state = self.state.borrow();
        let known = !state.keys.is_empty() && key_id.is_none_or(|id| state.keys.knows(id));
        !known && state.will_answer()
    }

    /// Waits for the issuer's next answer, which all who ask at this time share.
    ///
    /// Cancel safe: yes.
    pub(super) async fn ask(&self) {
        let mut state = self.state.clone();
        let rounds = {
            let state = state.borrow_and_update();
            // An attempt that has ended meanwhile leaves nothing to wait for.
            if !state.will_answer() {
                return;
            }
            state.rounds
        };
        self.wanted.notify_one();
        // An error means that the owner has gone: what is known is all that there will be.
        let _ = state.wait_for(|state| state.rounds > rounds).await;
    }

    /// Checks a signature with the keys at hand, as [`KeySet::check`].
    pub(super) fn check(
        &self,
        signed: &Signed<'_>,
        validations: &HashMap<Algorithm, Validation>,
    ) -> Result<Claims, TokenError> {
        let State { keys, failed, .. } = self.state.borrow().clone();
        if keys.is_empty() {
            return Err(TokenError::KeysUnavailable);
        }
        match keys.check(signed, validations) {
            // Perhaps it is the issuer's newest key.
            Err(TokenError::UnknownKey) if failed => Err(TokenError::KeysUnavailable),
            result => result,
        }
    }

    pub(super) fn allowed(&self) -> String {
        self.state.borrow().keys.allowed()
    }
}

struct Owner {
    fetcher: Fetcher,
    state_tx: watch::Sender<State>,
    wanted: Arc<Notify>,
    /// How long to wait after the next failure.
    retry: Duration,
}

impl Owner {
    async fn run(mut self) {
        loop {
            self.state_tx.send_modify(|state| {
                state.fetching = true;
                state.next_at_need = Instant::now() + AT_NEED_PAUSE;
            });
            let result = self.refresh().await;
            let next = Instant::now() + self.pause_after(&result);
            self.tell(result);
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.needed() => {}
            }
        }
    }

    async fn refresh(&self) -> Result<KeySet, RefreshError> {
        Ok(jwk::read(&self.fetcher.fetch().await?)?)
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

    /// Hands out what came; a change between good and bad is logged, not each attempt.
    fn tell(&self, result: Result<KeySet, RefreshError>) {
        let (url, before) = (&self.fetcher, self.state_tx.borrow().clone());
        let new = before.rounds == 0;
        match &result {
            Ok(keys) if new || before.failed => info!(%url, count = keys.len(), "keys fetched"),
            Ok(keys) => debug!(%url, count = keys.len(), "keys fetched"),
            Err(error) if new || !before.failed => {
                let known = before.keys.len();
                warn!(%url, %error, known, "cannot fetch keys; trying again, known ones stay");
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

    /// Completes when a token may cause another attempt.
    async fn needed(&self) {
        loop {
            self.wanted.notified().await;
            if Instant::now() >= self.state_tx.borrow().next_at_need {
                return;
            }
        }
    }
}
