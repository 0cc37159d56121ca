//! The delivery: one task that sends events to their target, one after the other.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::rand;
use bytes::Bytes;
use hyper::StatusCode;
use rejoin_core::{Metrics, Shutdown};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};
use tracing::{debug, error, info, warn};

use crate::{
    outgoing::{self, Outgoing, OutgoingError, Tasks},
    webhook::Webhook,
};

/// How soon a target that failed is tried again; twice as late each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// How late at most.
const MAX_RETRY: Duration = Duration::from_secs(60);
/// How old an event may get; it is news, and who missed an hour of it must look for itself.
const MAX_AGE: Duration = Duration::from_secs(60 * 60);
/// How long a target may take for all its answers while the server stops: half of the server's
/// own deadline.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long, and how much, is read of an answer that is good already, so that its connection can be used again.
const ANSWER_REST: Duration = Duration::from_secs(1);
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// An event that waits.
pub(super) struct Waiting {
    pub(super) id: String,
    pub(super) body: Bytes,
    /// When it happened.
    pub(super) since: Instant,
}

pub(super) struct Delivery {
    pub(super) webhook: Webhook,
    pub(super) outgoing: Outgoing,
    pub(super) waiting: mpsc::Receiver<Waiting>,
    /// The first one, until it is settled.
    pub(super) current: Option<Waiting>,
    /// Connections that are there, whose end would be an event.
    pub(super) open: watch::Receiver<u64>,
    /// The last attempt failed: this was logged.
    pub(super) failing: bool,
    pub(super) metrics: Arc<Metrics>,
}

/// Why an event did not arrive.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("the answer is {0}")]
    Status(StatusCode),
    #[error(transparent)]
    Outgoing(#[from] OutgoingError),
}

impl Failure {
    /// Whether the target wants nothing more, ever.
    fn is_final(&self) -> bool {
        matches!(self, Self::Status(StatusCode::GONE))
    }
}

/// Why nothing more is sent for now.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The target wants nothing more.
    Gone,
    /// The server stops.
    Stopping,
}

impl Delivery {
    pub(super) async fn run(mut self, tasks: Tasks) {
        // What is on its way is not thrown away at once: it may have arrived.
        let too_late = async {
            tasks.shutdown.begun().await;
            sleep(STOP_TIMEOUT).await;
        };
        let delivered = async {
            match self.deliver_all(&tasks.shutdown).await {
                End::Gone => {
                    error!(url = %self.webhook.url, "the webhook's target is gone (410): nothing more is sent to it until the server starts again");
                }
                End::Stopping => self.deliver_rest().await,
            }
        };
        tokio::select! {
            () = delivered => {}
            () = too_late => {}
        }
        self.waiting.close();
        let mut dropped = u64::from(self.current.is_some());
        while self.waiting.try_recv().is_ok() {
            dropped += 1;
        }
        if dropped > 0 {
            self.metrics.webhooks.get_or_create(&[("outcome", "dropped")]).inc_by(dropped);
            warn!(dropped, "events were left for the webhook");
        }
        // Nobody sends on the connections that are kept.
        tasks.end.begin();
    }

    async fn deliver_all(&mut self, shutdown: &Shutdown) -> End {
        loop {
            let since = tokio::select! {
                next = self.next() => match next {
                    Some(since) => since,
                    // The hub is gone, and nothing more can happen.
                    None => std::future::pending().await,
                },
                () = shutdown.begun() => return End::Stopping,
            };
            let mut retry = FIRST_RETRY;
            loop {
                match self.attempt().await {
                    Ok(()) => break,
                    Err(failure) if failure.is_final() => return End::Gone,
                    Err(_) if since + MAX_AGE <= Instant::now() => {
                        self.metrics.webhook("given_up");
                        break;
                    }
                    Err(_) => self.metrics.webhook("retried"),
                }
                tokio::select! {
                    () = sleep(with_jitter(retry)) => {}
                    () = shutdown.begun() => return End::Stopping,
                }
                retry = MAX_RETRY.min(retry * 2);
            }
            self.current = None;
        }
    }

    /// Each once, and what happens until the last connection has ended.
    async fn deliver_rest(&mut self) {
        loop {
            let mut open = self.open.clone();
            tokio::select! {
                biased;
                next = self.next() => if next.is_none() {
                    return;
                },
                _ = open.wait_for(|open| *open == 0) => return,
            }
            match self.attempt().await {
                Ok(()) => self.current = None,
                // What is down now will not be up within seconds, and others wait.
                Err(_) => return,
            }
        }
    }

    /// Makes the first one that waits the current one; returns when it happened.
    ///
    /// Cancel safe: yes.
    async fn next(&mut self) -> Option<Instant> {
        if self.current.is_none() {
            self.current = Some(self.waiting.recv().await?);
        }
        self.current.as_ref().map(|waiting| waiting.since)
    }

    async fn attempt(&mut self) -> Result<(), Failure> {
        let Some(Waiting { id, body, .. }) = &self.current else { return Ok(()) };
        let limit = self.webhook.timeout;
        let call = self.call(id, body.clone());
        let result = timeout(limit, call).await.unwrap_or(Err(Failure::TimedOut(limit)));
        let url = &self.webhook.url;
        match &result {
            Ok(()) => {
                self.metrics.webhook("delivered");
                if self.failing {
                    info!(%url, "the webhook's target answers again");
                }
            }
            Err(failure) if self.failing => debug!(%url, error = %failure, "a webhook failed"),
            Err(failure) => {
                warn!(%url, error = %failure, "a webhook failed; trying again for an hour");
            }
        }
        self.failing = result.is_err();
        result
    }

    async fn call(&self, id: &str, body: Bytes) -> Result<(), Failure> {
        let response = self.outgoing.send(self.webhook.request(id, body)).await?;
        // Redirects among what is none.
        if !response.status().is_success() {
            return Err(Failure::Status(response.status()));
        }
        // It has arrived, whatever comes of the rest.
        let rest = outgoing::read(response.into_body(), MAX_ANSWER_BYTES);
        let _ = timeout(ANSWER_REST, rest).await;
        Ok(())
    }
}

/// Between half and all of a pause: targets that serve many are not called by all at once.
fn with_jitter(pause: Duration) -> Duration {
    let mut random = [0];
    rand::fill(&mut random).expect("the system has randomness");
    pause.mul_f64(0.5 + f64::from(random[0]) / 512.0)
}
