//! Publishing: appends that are paced by the followers.

use rejoin_protocol::Position;

use crate::{
    frame::{Frame, PayloadKind},
    stream::{State, Stream},
};

impl Stream {
    /// Appends a text frame of one unit as soon as there is room.
    ///
    /// Calls `text` with the frame's own position immediately before the append, under the
    /// stream's lock. Cancel safe: the frame is appended or not.
    ///
    /// # Errors
    /// The error of `text`; nothing is appended.
    pub async fn publish<E>(
        &self,
        text: impl Fn(Position) -> Result<String, E>,
    ) -> Result<Position, E> {
        self.when_room(|| self.try_publish(&text)).await
    }

    /// Calls `attempt` until it does not return a waiting producer.
    pub(super) async fn when_room<'a, T>(
        &'a self,
        mut attempt: impl FnMut() -> Result<T, WaitingProducer<'a>>,
    ) -> T {
        // There is room most of the time.
        let mut waiting = match attempt() {
            Ok(result) => return result,
            Err(waiting) => waiting,
        };

        loop {
            // Created before the next try, so that no notification in between is missed.
            let room = self.shared.room.notified();
            drop(waiting);
            waiting = match attempt() {
                Ok(result) => return result,
                Err(waiting) => waiting,
            };
            room.await;
        }
    }

    /// Waits until the followers have taken enough for a producer to continue. Cancel safe.
    ///
    /// Only the server's own fan-out paces a producer, never a reader.
    pub async fn room(&self) {
        loop {
            // Created before the check, so that no notification in between is missed.
            let room = self.shared.room.notified();
            let Some(waiting) = WaitingProducer::new(self, &mut self.shared.state.lock()) else {
                return;
            };
            room.await;
            drop(waiting);
        }
    }

    fn try_publish<E>(
        &self,
        text: &impl Fn(Position) -> Result<String, E>,
    ) -> Result<Result<Position, E>, WaitingProducer<'_>> {
        let mut state = self.shared.state.lock();
        if let Some(waiting) = WaitingProducer::new(self, &mut state) {
            return Err(waiting);
        }

        let position = self.position(state.ring.head_offset() + 1);
        let text = match text(position) {
            Ok(text) => text,
            Err(error) => return Ok(Err(error)),
        };

        let frame = Frame::new(self.shared.encode, PayloadKind::Text, &[text.as_bytes()]);
        state.push(frame, 1, self.shared.number);

        // Without this stream's lock: making room takes the locks of others.
        let exceeded = state.ring.exceeded_budget();
        drop(state);
        if let Some(budget) = exceeded {
            budget.make_room(&self.shared);
        }

        Ok(Ok(position))
    }
}

/// A producer that waits for room. Followers notify only while one is registered.
pub(crate) struct WaitingProducer<'a> {
    stream: &'a Stream,
}

impl<'a> WaitingProducer<'a> {
    /// Registers a producer unless there is room. Check and registration are one turn of the lock,
    /// so that no follower makes room in between without a notification.
    pub(super) fn new(stream: &'a Stream, state: &mut State) -> Option<Self> {
        if state.has_room() {
            return None;
        }

        state.waiting_producers += 1;
        Some(Self { stream })
    }
}

impl Drop for WaitingProducer<'_> {
    fn drop(&mut self) {
        self.stream.shared.state.lock().waiting_producers -= 1;
    }
}
