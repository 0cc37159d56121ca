//! What one client may send in a time.

use std::{num::NonZeroU32, time::Duration};

use tokio::time::Instant;

use crate::gcra::{Gcra, Rate};

/// Pings and pongs that a client may send: more than any library does.
const CONTROLS: Rate = Rate::new(NonZeroU32::new(100).expect("not zero"), Duration::from_secs(1));
/// Refusals after which a client is let go: it does not listen.
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
    /// The client is refused so often that it is let go.
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
