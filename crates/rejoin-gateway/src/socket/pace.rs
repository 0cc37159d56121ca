//! What one client may send in a time.

use std::{num::NonZeroU32, time::Duration};

use rejoin_protocol::{
    CloseCode, ErrorCode,
    message::{Envelope, ErrorBody},
};
use rejoin_websocket::Event;
use tokio::time::Instant;

use crate::{
    gcra::{Gcra, Rate},
    socket::client::{Client, Flow},
};

/// Pings and pongs that a client may send: more than any library does.
const CONTROLS: Rate = Rate::new(NonZeroU32::new(100).expect("not zero"), Duration::from_secs(1));
/// Refusals after which a client is closed: it ignores them.
const REFUSALS: Rate = Rate::new(NonZeroU32::new(1000).expect("not zero"), Duration::from_secs(10));

/// How fast clients may send; nothing: no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    /// Messages.
    pub messages: Option<Rate>,
    /// Bytes of messages.
    pub bytes: Option<Rate>,
}

/// What one client has sent lately.
#[derive(Debug, Default)]
pub(super) struct Pace {
    messages: Gcra,
    bytes: Gcra,
    controls: Gcra,
    refusals: Gcra,
}

/// What is too fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TooFast {
    /// It is refused, with the limit's name and when to try again.
    Refuse { what: &'static str, wait: Duration },
    /// The client is refused so often that it is closed.
    LetGo { what: &'static str },
}

impl Pace {
    /// Counts a message.
    pub(super) fn message(&mut self, rates: &Rates, bytes: usize) -> Result<(), TooFast> {
        if rates.messages.is_none() && rates.bytes.is_none() {
            return Ok(());
        }
        let now = Instant::now();
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        // What is refused by one limit takes nothing of the other.
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
    pub(super) fn control(&mut self) -> Result<(), TooFast> {
        let now = Instant::now();
        self.controls.take(&CONTROLS, now, 1).map_err(|wait| self.refuse(now, "controls", wait))
    }

    fn refuse(&mut self, now: Instant, what: &'static str, wait: Duration) -> TooFast {
        match self.refusals.take(&REFUSALS, now, 1) {
            Ok(()) => TooFast::Refuse { what, wait },
            Err(_) => TooFast::LetGo { what },
        }
    }
}

impl Client {
    /// Counts what a client sent.
    pub(super) fn admit(&mut self, event: &Event<'_>) -> Result<(), TooFast> {
        let rates = &self.shared.config.rates;
        match event {
            Event::Text(text) => self.pace.message(rates, text.len()),
            Event::Binary(bytes) => self.pace.message(rates, bytes.len()),
            Event::Ping(_) | Event::Pong(_) => self.pace.control(),
            Event::Close(_) => Ok(()),
        }
    }

    /// Answers what came too fast.
    pub(super) fn refuse(&self, event: &Event<'_>, too_fast: TooFast) -> Flow {
        let metrics = self.shared.hub.metrics();
        match (too_fast, event) {
            (TooFast::LetGo { what }, _) => {
                metrics.rate_limited(what);
                Flow::Close(CloseCode::RateLimited)
            }
            // A flood of pings gets no pongs.
            (TooFast::Refuse { what, .. }, Event::Ping(_) | Event::Pong(_)) => {
                metrics.rate_limited(what);
                Flow::Continue
            }
            (TooFast::Refuse { what, wait }, _) => {
                metrics.rate_limited(what);
                let reply_to = match event {
                    Event::Text(text) => {
                        Envelope::parse(text).ok().and_then(|envelope| envelope.id)
                    }
                    _ => None,
                };
                let sentence = if wait == Duration::MAX {
                    format!("the message alone is beyond the limit of {what} in a second")
                } else {
                    let wait = wait.as_millis() + 1;
                    format!("too many {what} in a second; try again in {wait} ms")
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
    async fn what_one_limit_refuses_takes_nothing_of_the_other() {
        let (mut pace, rates) = (Pace::default(), rates(3, 100));
        assert!(pace.message(&rates, 90).is_ok());
        let refused = TooFast::Refuse { what: "bytes", wait: Duration::from_millis(100) };
        for _ in 0..9 {
            assert_eq!(pace.message(&rates, 20), Err(refused));
        }
        assert!(pace.message(&rates, 5).is_ok() && pace.message(&rates, 5).is_ok());
        let wait = match pace.message(&rates, 0) {
            Err(TooFast::Refuse { what: "messages", wait }) => wait,
            other => return assert!(other.is_err(), "{other:?}"),
        };
        advance(wait).await;
        assert!(pace.message(&rates, 0).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_refused_a_thousand_times_in_ten_seconds_is_let_go() {
        let (mut pace, rates) = (Pace::default(), rates(1, 0));
        assert!(pace.message(&rates, 1).is_ok());
        for _ in 0..1000 {
            assert!(matches!(pace.message(&rates, 1), Err(TooFast::Refuse { .. })));
        }
        assert_eq!(pace.message(&rates, 1), Err(TooFast::LetGo { what: "messages" }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_pings_in_a_second_are_answered() {
        let mut pace = Pace::default();
        assert!((0..100).all(|_| pace.control().is_ok()));
        assert!(matches!(pace.control(), Err(TooFast::Refuse { what: "controls", .. })));
        sleep(Duration::from_millis(10)).await;
        assert!(pace.control().is_ok() && pace.control().is_err());
    }

    proptest! {
        #[test]
        fn a_client_never_sends_more_than_a_burst_and_what_came_back_since(
            steps in prop::collection::vec((0..300u64, 1..40usize), 1..200),
        ) {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_time().start_paused(true).build().expect("it starts");
            runtime.block_on(async {
                let (mut pace, rates) = (Pace::default(), rates(10, 100));
                let (start, mut messages, mut bytes) = (Instant::now(), 0.0, 0.0);
                for (wait, size) in steps {
                    advance(Duration::from_millis(wait)).await;
                    if pace.message(&rates, size).is_ok() {
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
