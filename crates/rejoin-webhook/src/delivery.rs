//! The delivery task: sends events to one target, one after the other.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::rand;
use bytes::Bytes;
use rejoin_core::Shutdown;
use rejoin_http_client::{ConnectionTasks, HttpClient, HttpClientError, StatusCode};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};
use tracing::{debug, error, info, warn};

use crate::{metrics::WebhookMetrics, target::Webhook};

/// The pause after the first failed attempt. Doubles with each attempt, up to [`MAX_RETRY`].
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest pause between two attempts.
const MAX_RETRY: Duration = Duration::from_secs(60);
/// The age at which an event is given up. After an hour without events, a target must fetch the
/// state itself.
const MAX_AGE: Duration = Duration::from_secs(60 * 60);
/// The time for all deliveries during a stop: half of the server's own deadline.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// The time to read the rest of a successful response, so that its connection can be reused.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);
/// The maximum number of bytes that are read of a successful response.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// An event in the queue.
pub(crate) struct QueuedEvent {
    pub(crate) id: String,
    pub(crate) body: Bytes,
    pub(crate) created: Instant,
}

/// The delivery task of one webhook.
pub(crate) struct Delivery {
    pub(crate) webhook: Webhook,
    pub(crate) client: HttpClient,
    pub(crate) queue: mpsc::Receiver<QueuedEvent>,
    /// The event that is being delivered.
    pub(crate) current: Option<QueuedEvent>,
    /// The number of open connections. Each may still end, which is an event.
    pub(crate) open: watch::Receiver<u64>,
    /// The last attempt has failed, and a warning was logged.
    pub(crate) failing: bool,
    pub(crate) metrics: Arc<WebhookMetrics>,
}

/// The reason why an attempt failed.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("the response has status {0}")]
    Status(StatusCode),
    #[error(transparent)]
    Client(#[from] HttpClientError),
}

impl AttemptError {
    /// Returns `true` if the target must not be called again (410).
    fn is_final(&self) -> bool {
        matches!(self, Self::Status(StatusCode::GONE))
    }
}

/// The reason why regular delivery ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The target must not be called again.
    Gone,
    /// The server stops.
    Stopping,
}

impl Delivery {
    /// Delivers events until the shutdown, and then for at most [`STOP_TIMEOUT`].
    pub(crate) async fn run(mut self, tasks: ConnectionTasks) {
        // An attempt under way is not aborted at once: the event may have arrived.
        let deadline = async {
            tasks.shutdown.begun().await;
            sleep(STOP_TIMEOUT).await;
        };
        let delivery = async {
            match self.deliver_all(&tasks.shutdown).await {
                End::Gone => {
                    error!(
                        url = %self.webhook.url,
                        "the webhook's target is gone (410): nothing more is sent to it until \
                         the server restarts"
                    );
                }
                End::Stopping => self.deliver_rest().await,
            }
        };
        tokio::select! {
            () = delivery => {}
            () = deadline => {}
        }

        self.queue.close();
        let mut dropped = u64::from(self.current.is_some());
        while self.queue.try_recv().is_ok() {
            dropped += 1;
        }
        if dropped > 0 {
            self.metrics.count_many("dropped", dropped);
            warn!(dropped, "events for the webhook were not delivered");
        }
        // Ends the tasks of idle connections, which would otherwise delay the stop.
        tasks.end.begin();
    }

    async fn deliver_all(&mut self, shutdown: &Shutdown) -> End {
        loop {
            let created = tokio::select! {
                next = self.next() => match next {
                    Some(created) => created,
                    // The hub is dropped, and there are no more events.
                    None => std::future::pending().await,
                },
                () = shutdown.begun() => return End::Stopping,
            };

            // One event at a time. The next one waits, which keeps the order.
            let mut retry = FIRST_RETRY;
            loop {
                match self.attempt().await {
                    Ok(()) => break,
                    // 410 is the only final answer. A 404 may come from a proxy while the program
                    // restarts.
                    Err(error) if error.is_final() => return End::Gone,
                    // The age counts, not the attempts: an outage fails all events in the queue at
                    // once.
                    Err(_) if created + MAX_AGE <= Instant::now() => {
                        self.metrics.count("given_up");
                        break;
                    }
                    Err(_) => self.metrics.count("retried"),
                }
                tokio::select! {
                    () = sleep(with_jitter(retry)) => {}
                    () = shutdown.begun() => return End::Stopping,
                }
                retry = MAX_RETRY.min(retry * 2);
            }
            // Only after the outcome: a stop during an attempt retries the event once.
            self.current = None;
        }
    }

    /// Delivers during a stop: each event once, until the last connection has closed.
    async fn deliver_rest(&mut self) {
        loop {
            let mut open = self.open.clone();
            tokio::select! {
                // Events first: those in the queue are sent even if no connection is open.
                biased;
                next = self.next() => if next.is_none() {
                    return;
                },
                _ = open.wait_for(|open| *open == 0) => return,
            }
            match self.attempt().await {
                Ok(()) => self.current = None,
                // A target that fails now will not recover within the deadline.
                Err(_) => return,
            }
        }
    }

    /// Makes the next event the current one. Returns the time of the event.
    ///
    /// Cancel safe.
    async fn next(&mut self) -> Option<Instant> {
        if self.current.is_none() {
            self.current = Some(self.queue.recv().await?);
        }
        self.current.as_ref().map(|event| event.created)
    }

    async fn attempt(&mut self) -> Result<(), AttemptError> {
        let Some(QueuedEvent { id, body, .. }) = &self.current else { return Ok(()) };
        let limit = self.webhook.timeout;
        let call = self.call(id, body.clone());
        // Over the whole call: a target that sends a byte now and then must not block the queue.
        let result = timeout(limit, call).await.unwrap_or(Err(AttemptError::TimedOut(limit)));

        let url = &self.webhook.url;
        match &result {
            Ok(()) => {
                self.metrics.count("delivered");
                if self.failing {
                    info!(%url, "the webhook's target responds again");
                }
            }
            Err(error) if self.failing => debug!(%url, %error, "a webhook failed"),
            Err(error) => {
                warn!(%url, %error, "a webhook failed; retrying for up to an hour");
            }
        }
        self.failing = result.is_err();
        result
    }

    async fn call(&self, id: &str, body: Bytes) -> Result<(), AttemptError> {
        let response = self.client.send(self.webhook.request(id, body)).await?;
        if !response.status().is_success() {
            return Err(AttemptError::Status(response.status()));
        }
        // The event has arrived, even if the rest of the response cannot be read.
        let _ = timeout(BODY_TIMEOUT, response.body(MAX_BODY_BYTES)).await;
        Ok(())
    }
}

/// Returns a random time from half of a pause to the whole, so that many servers do not call one
/// target at the same moment.
fn with_jitter(pause: Duration) -> Duration {
    let mut random = [0];
    rand::fill(&mut random).expect("the system has random bytes");
    pause.mul_f64(0.5 + f64::from(random[0]) / 512.0)
}
