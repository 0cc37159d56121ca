//! Reserved frames: they have a position, and become visible once they are durable.

use std::collections::VecDeque;

use bytes::Bytes;
use rejoin_protocol::Position;

use crate::{
    frame::{Frame, PayloadKind},
    stream::{State, Stream, publish::WaitingProducer},
};

/// The number of reserved frames above which producers wait.
const MAX_FRAMES: usize = 1024;
/// The size of reserved frames, in bytes, above which producers wait.
const MAX_BYTES: usize = 256 * 1024;

/// The reserved frames of a stream, oldest first.
#[derive(Default)]
pub(super) struct Reserved {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// Increases each time that the frames are discarded.
    generation: u64,
}

/// A frame that has a position and is not visible yet.
#[derive(Debug)]
pub(crate) struct Reservation {
    /// The position after the frame.
    pub(crate) position: Position,
    /// The text.
    pub(crate) payload: Bytes,
    generation: u64,
}

impl Reserved {
    pub(super) fn has_room(&self) -> bool {
        self.frames.len() < MAX_FRAMES && self.bytes < MAX_BYTES
    }

    /// Returns the number of the frames and their bytes.
    pub(super) fn size(&self) -> (u64, u64) {
        (self.frames.len() as u64, self.bytes as u64)
    }
}

impl Stream {
    /// Reserves the next position for a text frame of one unit as soon as there is room.
    ///
    /// Calls `text` with the frame's position, then `queue`, both under the stream's lock: what
    /// they queue has the order of the stream. Cancel safe: the frame is reserved or not.
    ///
    /// # Errors
    /// The error of `text`; nothing is reserved.
    pub(crate) async fn reserve<E>(
        &self,
        text: impl Fn(Position) -> Result<String, E>,
        mut queue: impl FnMut(Reservation),
    ) -> Result<(), E> {
        self.when_room(|| self.try_reserve(&text, &mut queue)).await
    }

    /// Reserves as [`reserve`](Self::reserve) does, or returns the producer that has to wait.
    pub(crate) fn try_reserve<E>(
        &self,
        text: &impl Fn(Position) -> Result<String, E>,
        queue: &mut impl FnMut(Reservation),
    ) -> Result<Result<(), E>, WaitingProducer<'_>> {
        let mut state = self.shared.state.lock();
        if let Some(waiting) = WaitingProducer::new(self, &mut state) {
            return Err(waiting);
        }

        let before = state.ring.head_offset() + state.reserved.frames.len() as u64;
        let position = self.position(before + 1);
        let text = match text(position) {
            Ok(text) => text,
            Err(error) => return Ok(Err(error)),
        };

        let frame = Frame::new(self.shared.encode, PayloadKind::Text, &[text.as_bytes()]);
        let (payload, generation) = (frame.payload(), state.reserved.generation);
        state.reserved.bytes += frame.plain().len();
        state.reserved.frames.push_back(frame);
        queue(Reservation { position, payload, generation });
        Ok(Ok(()))
    }

    /// Returns `true` unless the frame was discarded.
    pub(crate) fn is_reserved(&self, reservation: &Reservation) -> bool {
        self.shared.state.lock().reserved.generation == reservation.generation
    }

    /// Appends the oldest reserved frame, which is durable now.
    pub(crate) fn append_reserved(&self) {
        let mut state = self.shared.state.lock();
        let Some(frame) = state.reserved.frames.pop_front() else { return };

        state.reserved.bytes -= frame.plain().len();
        state.push(frame, 1, self.shared.number);
        self.notify_producers(&state);

        // Without this stream's lock: making room takes the locks of others.
        let exceeded = state.ring.exceeded_budget();
        drop(state);
        if let Some(budget) = exceeded {
            budget.make_room(&self.shared);
        }
    }

    /// Discards all reserved frames. Later frames get their positions. No client knows them: a
    /// reserved frame was neither sent nor acknowledged.
    pub(crate) fn discard_reserved(&self) {
        let mut state = self.shared.state.lock();
        let generation = state.reserved.generation + 1;
        state.reserved = Reserved { generation, ..Reserved::default() };
        self.notify_producers(&state);
    }

    fn notify_producers(&self, state: &State) {
        if state.waiting_producers > 0 && state.has_room() {
            self.shared.room.notify_waiters();
        }
    }
}
