//! The rate limits of one client.

use std::{num::NonZeroU32, time::Duration};

use rejoin_protocol::{
    CloseCode, ErrorCode,
    message::{Envelope, ErrorBody},
};
use rejoin_websocket::Event;
use tokio::time::Instant;

use crate::{
    gcra::{Gcra, Rate, Rates},
    socket::client::{Client, Flow},
};

/// The rate of pings and pongs that a client may send. No library sends that many.
const CONTROLS: Rate = Rate::new(NonZeroU32::new(100).expect("not zero"), Duration::from_secs(1));
/// The rate of refusals above which a client is disconnected, because it ignores them.
const REFUSALS: Rate = Rate::new(NonZeroU32::new(1000).expect("not zero"), Duration::from_secs(10));

/// The state of one client's limits.
#[derive(Debug, Default)]
pub(super) struct ClientRateLimiter {
    messages: Gcra,
    bytes: Gcra,
    controls: Gcra,
    refusals: Gcra,
}

/// The consequence of exceeding a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RateExceeded {
    /// The message is refused. `what` names the limit; after `wait`, a retry can succeed.
    Refuse { what: &'static str, wait: Duration },
    /// The client was refused so often that it is disconnected.
    Close { what: &'static str },
}

impl ClientRateLimiter {
    /// Counts a message of this many bytes.
    ///
    /// # Errors
    /// If a limit is exceeded. A refused message does not count against any limit.
    fn message(&mut self, rates: &Rates, bytes: usize) -> Result<(), RateExceeded> {
        if rates.messages.is_none() && rates.bytes.is_none() {
            return Ok(());
        }

        let now = Instant::now();
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);

        // Works on a copy that is written back at the end: a message that the byte limit refuses
        // must not count against the message limit.
        let mut messages = self.messages;
        if let Some(rate) = &rates.messages {
            messages.take(rate, now, 1).map_err(|wait| self.refuse(now, "messages", wait))?;
        }
        if let Some(rate) = &rates.bytes {
            self.bytes.take(rate, now, bytes).map_err(|wait| self.refuse(now, "bytes", wait))?;
        }

        self.messages = messages;
        Ok(())
    }

    /// Counts a ping or a pong.
    ///
    /// # Errors
    /// If the limit is exceeded.
    fn control(&mut self) -> Result<(), RateExceeded> {
        let now = Instant::now();
        self.controls.take(&CONTROLS, now, 1).map_err(|wait| self.refuse(now, "controls", wait))
    }

    fn refuse(&mut self, now: Instant, what: &'static str, wait: Duration) -> RateExceeded {
        match self.refusals.take(&REFUSALS, now, 1) {
            Ok(()) => RateExceeded::Refuse { what, wait },
            Err(_) => RateExceeded::Close { what },
        }
    }
}

impl Client {
    /// Counts a message or control frame.
    ///
    /// # Errors
    /// If a limit is exceeded.
    pub(super) fn check_rate(&mut self, event: &Event<'_>) -> Result<(), RateExceeded> {
        let rates = &self.shared.config.rates;
        match event {
            Event::Text(text) => self.rate_limiter.message(rates, text.len()),
            Event::Binary(bytes) => self.rate_limiter.message(rates, bytes.len()),
            Event::Ping(_) | Event::Pong(_) => self.rate_limiter.control(),
            Event::Close(_) => Ok(()),
        }
    }

    /// Refuses a message or control frame that exceeded a limit.
    pub(super) fn refuse_rate(&self, event: &Event<'_>, exceeded: RateExceeded) -> Flow {
        let metrics = self.shared.hub.metrics();
        match (exceeded, event) {
            (RateExceeded::Close { what }, _) => {
                metrics.rate_limited(what);
                Flow::Close(CloseCode::RateLimited)
            }
            // A refused ping gets no pong, because answering a flood would double it.
            (RateExceeded::Refuse { what, .. }, Event::Ping(_) | Event::Pong(_)) => {
                metrics.rate_limited(what);
                Flow::Continue
            }
            (RateExceeded::Refuse { what, wait }, _) => {
                metrics.rate_limited(what);
                // Parsed only for its id, so that the client can match the refusal to its message.
                let reply_to = match event {
                    Event::Text(text) => {
                        Envelope::parse(text).ok().and_then(|envelope| envelope.id)
                    }
                    _ => None,
                };

                let sentence = if wait == Duration::MAX {
                    format!("the message alone exceeds the limit of {what}; send smaller messages")
                } else {
                    let wait = wait.as_millis() + 1;
                    format!("too many {what} per second; try again in {wait} ms")
                };
                self.send_error(reply_to.as_ref(), ErrorBody::new(ErrorCode::RateLimited, sentence))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::{advance, sleep};

    use super::*;

    fn rates(messages: u32, bytes: u32) -> Rates {
        let rate = |count| NonZeroU32::new(count).map(|c| Rate::new(c, Duration::from_secs(1)));
        Rates { messages: rate(messages), bytes: rate(bytes) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_message_is_not_counted_by_any_limit() {
        let (mut limiter, rates) = (ClientRateLimiter::default(), rates(3, 100));
        assert!(limiter.message(&rates, 90).is_ok());

        let refused = RateExceeded::Refuse { what: "bytes", wait: Duration::from_millis(100) };
        for _ in 0..9 {
            assert_eq!(limiter.message(&rates, 20), Err(refused));
        }
        assert!(limiter.message(&rates, 5).is_ok() && limiter.message(&rates, 5).is_ok());

        let wait = match limiter.message(&rates, 0) {
            Err(RateExceeded::Refuse { what: "messages", wait }) => wait,
            other => return assert!(other.is_err(), "{other:?}"),
        };

        advance(wait).await;
        assert!(limiter.message(&rates, 0).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_refused_too_often_is_closed() {
        let (mut limiter, rates) = (ClientRateLimiter::default(), rates(1, 0));
        assert!(limiter.message(&rates, 1).is_ok());

        for _ in 0..1000 {
            assert!(matches!(limiter.message(&rates, 1), Err(RateExceeded::Refuse { .. })));
        }
        assert_eq!(limiter.message(&rates, 1), Err(RateExceeded::Close { what: "messages" }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_pings_per_second_are_allowed() {
        let mut limiter = ClientRateLimiter::default();
        assert!((0..100).all(|_| limiter.control().is_ok()));
        assert!(matches!(limiter.control(), Err(RateExceeded::Refuse { what: "controls", .. })));

        sleep(Duration::from_millis(10)).await;
        assert!(limiter.control().is_ok() && limiter.control().is_err());
    }

    proptest! {
        #[test]
        fn a_client_never_exceeds_its_burst_plus_the_refill(
            steps in prop::collection::vec((0..300u64, 1..40usize), 1..200),
        ) {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_time().start_paused(true).build().expect("it starts");
            runtime.block_on(async {
                let (mut limiter, rates) = (ClientRateLimiter::default(), rates(10, 100));
                let (start, mut messages, mut bytes) = (Instant::now(), 0.0, 0.0);
                for (wait, size) in steps {
                    advance(Duration::from_millis(wait)).await;
                    if limiter.message(&rates, size).is_ok() {
                        messages += 1.0;
                        bytes += f64::from(u32::try_from(size).expect("it is small"));
                    }

                    let seconds = start.elapsed().as_secs_f64();
                    assert!(messages <= 10.0 * (1.0 + seconds) + 1e-6);
                    assert!(bytes <= 100.0 * (1.0 + seconds) + 1e-6);
                }
            });
        }
    }
}
