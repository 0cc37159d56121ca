//! Input on its way to a keeper, one at a time: its author is checked immediately before.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use rejoin_core::{Author, InputKey};
use rejoin_keeper::wire::{Input, Request};
use tokio::{sync::watch, time::Instant};

/// The interval at which the author of input is rechecked while the program does not read it.
const RECHECK: Duration = Duration::from_millis(5);
/// The time after which input that the keeper had no room for is resent.
const RETRY: Duration = Duration::from_millis(20);

/// The input that is not written yet. The session bounds it by counting unreported input.
#[derive(Debug)]
pub(super) struct InputLine {
    queue: VecDeque<QueuedInput>,
    /// The input that was sent to the keeper.
    current: Option<QueuedInput>,
    is_cancelled: bool,
    /// The time at which `current` is resent. `Some` if the keeper had no room for it.
    retry_at: Option<Instant>,
    written: watch::Sender<u64>,
}

#[derive(Debug)]
pub(super) struct QueuedInput {
    pub(super) number: u64,
    pub(super) bytes: Bytes,
    pub(super) key: Option<InputKey>,
    pub(super) author: Author,
}

impl InputLine {
    pub(super) fn new(written: watch::Sender<u64>) -> Self {
        Self { queue: VecDeque::new(), current: None, is_cancelled: false, retry_at: None, written }
    }

    pub(super) fn push(&mut self, input: QueuedInput) {
        self.queue.push_back(input);
    }

    /// Returns the next request to send: the next input, or the cancellation of the current one.
    pub(super) fn next(&mut self) -> Option<Request> {
        if let Some(current) = &self.current {
            let (number, may_write) = (current.number, current.author.may_write());
            match self.retry_at {
                // The keeper does not have the input, so there is nothing to cancel.
                Some(_) if !may_write => self.handle_written(number),
                Some(at) if at <= Instant::now() => {
                    self.retry_at = None;
                    return self.current.as_ref().map(request);
                }
                None if !may_write && !self.is_cancelled => {
                    // The author lost the right to type before the program read the input.
                    self.is_cancelled = true;
                    return Some(Request::Cancel { number });
                }
                _ => return None,
            }
        }

        while let Some(input) = self.queue.pop_front() {
            if input.author.may_write() {
                let request = request(&input);
                self.is_cancelled = false;
                self.current = Some(input);
                return Some(request);
            }
            // Reports dropped input as written, because the session counts input until it is
            // reported.
            self.written.send_replace(input.number);
        }
        None
    }

    /// Returns the time at which [`next`](Self::next) must be called if no other event occurs.
    pub(super) fn check_at(&self) -> Option<Instant> {
        self.current.as_ref()?;
        Some(self.retry_at.unwrap_or_else(|| Instant::now() + RECHECK))
    }

    /// Handles the keeper's report that an input was written or dropped.
    pub(super) fn handle_written(&mut self, number: u64) {
        if self.current.take_if(|current| current.number == number).is_some() {
            self.written.send_replace(number);
            self.retry_at = None;
        }
    }

    /// Handles the keeper's refusal of an input.
    pub(super) fn handle_refused(&mut self, number: u64) {
        let Some(current) = self.current.as_ref().filter(|current| current.number == number) else {
            return;
        };
        if self.is_cancelled || !current.author.may_write() {
            return self.handle_written(number);
        }
        self.retry_at = Some(Instant::now() + RETRY);
    }
}

fn request(input: &QueuedInput) -> Request {
    let key = input.key.as_ref();
    Request::Input(Input {
        number: input.number,
        key: key.map(|key| (key.writer.as_bytes().into(), key.seq)),
        bytes: input.bytes.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use rejoin_core::{Authority, Caps, Identity};
    use rejoin_protocol::{ErrorCode, UserId, message::ErrorBody};

    use super::*;

    /// An authority whose rights end at once.
    #[derive(Debug, Default)]
    struct Revocable(AtomicBool);

    impl Authority for Revocable {
        fn identity(&self) -> Arc<Identity> {
            Arc::new(Identity::new(UserId::new("ann").unwrap(), Caps::user()))
        }

        fn check_at(&self, _now_ms: u64) -> Result<(), ErrorBody> {
            match self.0.load(Ordering::Relaxed) {
                true => Err(ErrorCode::TokenRevoked.into()),
                false => Ok(()),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refused_input_is_not_sent_again_after_a_revocation() {
        let (written_tx, written) = watch::channel(0);
        let (mut line, author) = (InputLine::new(written_tx), Arc::new(Revocable::default()));
        let input = |number, author| QueuedInput { number, bytes: "ls".into(), key: None, author };
        line.push(input(1, Author::Request(Arc::clone(&author) as Arc<dyn Authority>)));
        line.push(input(2, Author::Server));
        let is_input = |request, number| matches!(request, Some(Request::Input(input)) if input.number == number);

        assert!(is_input(line.next(), 1));
        line.handle_refused(1);
        assert!(line.next().is_none(), "sent again too early");
        tokio::time::advance(RETRY).await;
        assert!(is_input(line.next(), 1));

        line.handle_refused(1);
        author.0.store(true, Ordering::Relaxed);
        tokio::time::advance(RETRY).await;
        assert!(is_input(line.next(), 2));
        assert_eq!(*written.borrow(), 1, "dropped input is reported as written");
    }
}
