//! Frames laid one after another, so that many of them are one write.

use rejoin_core::{Batch, ReadLimit, Seq};

/// Frames that one write takes at most.
const MAX_FRAMES: std::num::NonZeroUsize = std::num::NonZeroUsize::new(1024).expect("not zero");
/// Bytes that one write takes at most, if it takes more than one frame.
const MAX_BYTES: usize = 256 * 1024;

/// How much a write takes from a stream.
pub(super) const LIMIT: ReadLimit = ReadLimit { frames: MAX_FRAMES, bytes: MAX_BYTES };

/// Frames taken from a stream, and their bytes in one piece.
///
/// One copy for each shard saves each socket's write the walk over many small pieces.
#[derive(Debug, Default)]
pub(super) struct Joined {
    pub(super) batch: Batch,
    bytes: Vec<u8>,
    /// Where each frame ends in `bytes`.
    ends: Vec<usize>,
}

impl Joined {
    /// Lays out the frames of the batch.
    pub(super) fn join(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        // A single frame is written from where it is.
        if self.batch.frames.len() > 1 {
            for frame in &self.batch.frames {
                self.bytes.extend_from_slice(frame);
                self.ends.push(self.bytes.len());
            }
        }
    }

    /// The bytes from frame `from` on; empty if there is none.
    pub(super) fn bytes_from(&self, from: Seq) -> &[u8] {
        let index = self.index(from);
        match (self.batch.frames.as_slice(), index) {
            ([frame], 0) => frame,
            ([] | [_], _) => &[],
            (_, 0) => &self.bytes,
            (_, index) => &self.bytes[self.ends[index - 1]..],
        }
    }

    /// After `written` bytes of what begins at `from`: the frame that comes next, and what is
    /// left of the one that was cut.
    pub(super) fn after(&self, from: Seq, written: usize) -> (Seq, Option<bytes::Bytes>) {
        let frames = &self.batch.frames;
        if frames.len() == 1 {
            let rest = frames[0].slice(written..);
            return (self.batch.end(), Some(rest).filter(|rest| !rest.is_empty()));
        }
        let first = self.index(from);
        let start = if first == 0 { 0 } else { self.ends[first - 1] };
        let at = start + written;
        let done = self.ends.partition_point(|end| *end <= at);
        let next = self.batch.first + done as Seq;
        let begin = if done == 0 { 0 } else { self.ends[done - 1] };
        if at == begin {
            return (next, None);
        }
        (next + 1, Some(frames[done].slice(at - begin..)))
    }

    fn index(&self, from: Seq) -> usize {
        let index = from.saturating_sub(self.batch.first);
        usize::try_from(index).unwrap_or(usize::MAX).min(self.batch.frames.len())
    }
}
