//! Batches: frames joined in one buffer, so that a single write sends many of them.

use bytes::Bytes;
use rejoin_core::{Batch, Frame, FrameEncoding, ReadLimit, Seq};

use crate::shard::transcode;

/// The maximum number of frames in one write.
const MAX_FRAMES: std::num::NonZeroUsize = std::num::NonZeroUsize::new(1024).expect("not zero");
/// The maximum size of a write that joins frames, in bytes. A single frame may be larger.
const MAX_BYTES: usize = 256 * 1024;

/// The limit of one read from a stream.
pub(super) const LIMIT: ReadLimit = ReadLimit { frames: MAX_FRAMES, bytes: MAX_BYTES };

/// A batch of frames, and their joined bytes in each encoding that was requested.
///
/// The frames are copied once per shard and encoding, so that writing to a socket does not have to
/// gather many small pieces.
#[derive(Debug, Default)]
pub(super) struct JoinedBatch {
    pub(super) batch: Batch,
    /// One layout per encoding, built on demand.
    layouts: [Layout; FrameEncoding::ALL.len()],
}

/// The joined bytes of a batch in one encoding.
#[derive(Debug, Default)]
struct Layout {
    bytes: Vec<u8>,
    /// The end of each frame in `bytes`. Empty until the layout is requested.
    ends: Vec<usize>,
}

impl JoinedBatch {
    /// Discards the layouts. Must be called after each change of the batch.
    pub(super) fn clear_layouts(&mut self) {
        for layout in &mut self.layouts {
            layout.ends.clear();
        }
    }

    /// Drops the frames after the first `count`.
    pub(super) fn truncate(&mut self, count: usize) {
        let dropped = self.batch.frames.drain(count..);
        self.batch.binary_bytes -= dropped.map(|frame| frame.binary_bytes()).sum::<u64>();
    }

    /// Returns the total size of the binary messages from frame `from` on, in bytes.
    pub(super) fn binary_bytes_from(&self, from: Seq) -> u64 {
        // The common case: a reader that is up to date takes the whole batch.
        if from == self.batch.first {
            return self.batch.binary_bytes;
        }
        self.frames_from(from).iter().map(Frame::binary_bytes).sum()
    }

    /// Returns the frames from `from` on.
    pub(super) fn frames_from(&self, from: Seq) -> &[Frame] {
        &self.batch.frames[self.index(from)..]
    }

    /// Returns the bytes of the frames from `from` on. Empty if there are none.
    pub(super) fn bytes_from(&mut self, encoding: FrameEncoding, from: Seq) -> &[u8] {
        let index = self.index(from);
        if index == self.batch.frames.len() {
            return &[];
        }

        // A single frame needs no copy.
        if let [frame] = self.batch.frames.as_slice() {
            return transcode::frame(frame, encoding);
        }

        let layout = &mut self.layouts[encoding as usize];
        if layout.ends.is_empty() {
            layout.bytes.clear();
            for frame in &self.batch.frames {
                layout.bytes.extend_from_slice(transcode::frame(frame, encoding));
                layout.ends.push(layout.bytes.len());
            }
        }

        &layout.bytes[layout.start_of(index)..]
    }

    /// Returns the next frame to send, and the rest of a frame that was cut.
    ///
    /// `written` is the number of bytes that the socket took, counted from frame `from` on.
    pub(super) fn after_write(
        &self,
        encoding: FrameEncoding,
        from: Seq,
        written: usize,
    ) -> (Seq, Option<Bytes>) {
        let frames = &self.batch.frames;
        let index = self.index(from);
        let (done, cut) = match frames.as_slice() {
            [] | [_] => (index, written),
            _ => {
                let layout = &self.layouts[encoding as usize];
                let at = layout.start_of(index) + written;

                // A frame that is empty in this encoding ends where the previous frame ends.
                // Counting all ends up to `at` skips such frames.
                let done = layout.ends.partition_point(|end| *end <= at);
                (done, at - layout.start_of(done))
            }
        };

        let next = self.batch.first + done as Seq;
        match frames.get(done).map(|frame| transcode::frame(frame, encoding)) {
            Some(bytes) if cut == bytes.len() => (next + 1, None),
            Some(bytes) if cut > 0 => (next + 1, Some(bytes.slice(cut..))),
            Some(_) | None => (next, None),
        }
    }

    /// Returns the index of a frame in the batch, or the length of the batch if the frame comes
    /// after it.
    fn index(&self, from: Seq) -> usize {
        let index = from.saturating_sub(self.batch.first);
        usize::try_from(index).unwrap_or(usize::MAX).min(self.batch.frames.len())
    }
}

impl Layout {
    /// Returns the offset of a frame in `bytes`.
    fn start_of(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.ends[before])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rejoin_core::{Frame, PayloadKind};
    use rejoin_protocol::{
        StreamNumber,
        binary::{BinaryHeader, BinaryKind},
    };

    /// Returns a text, an output or an acknowledgement. Long ones are large enough to compress.
    fn frame() -> impl Strategy<Value = Frame> {
        let length = prop_oneof![0usize..20, 300usize..900];
        (0u8..3, length, any::<u8>()).prop_map(|(kind, length, byte)| {
            let bytes = vec![byte % 128; length];
            let head =
                |kind| BinaryHeader { kind, stream: StreamNumber(3), offset: 300 }.to_bytes();
            let frame = |kind, parts: &[&[u8]]| Frame::new(crate::encode, kind, parts);

            match kind {
                0 => frame(PayloadKind::Text, &[&bytes]),
                1 => frame(PayloadKind::Binary, &[&head(BinaryKind::Output), &bytes]),
                _ => frame(PayloadKind::Binary, &[&head(BinaryKind::InputAck), &bytes]),
            }
        })
    }

    proptest! {
        #[test]
        fn a_write_cut_anywhere_resumes_at_the_exact_byte(
            frames in prop::collection::vec(frame(), 1..12),
            encoding in prop::sample::select(&FrameEncoding::ALL[..]),
            from in any::<prop::sample::Index>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let from = from.index(frames.len());
            let expected: Vec<u8> =
                frames[from..].iter().flat_map(|frame| transcode::frame(frame, encoding).to_vec()).collect();
            let mut joined = JoinedBatch { batch: Batch { first: 7, frames, binary_bytes: 0 }, ..JoinedBatch::default() };
            joined.clear_layouts();

            let from = 7 + from as Seq;
            prop_assert_eq!(joined.bytes_from(encoding, from), &expected[..]);

            let written = cut.index(expected.len() + 1);
            let (next, rest) = joined.after_write(encoding, from, written);

            let mut sent = expected[..written].to_vec();
            sent.extend(rest.unwrap_or_default());
            sent.extend(joined.bytes_from(encoding, next));

            prop_assert_eq!(sent, expected);

            if written == joined.bytes_from(encoding, from).len() {
                prop_assert_eq!(next, joined.batch.end());
            }
        }
    }

    #[test]
    fn the_layout_of_an_earlier_batch_is_not_reused() {
        let text = |text: &str| Frame::new(crate::encode, PayloadKind::Text, &[text.as_bytes()]);
        let mut joined = JoinedBatch::default();

        for words in [["a", "b"], ["c", "d"]] {
            joined.batch = Batch { first: 0, frames: words.map(text).to_vec(), binary_bytes: 0 };
            joined.clear_layouts();
            assert_eq!(joined.bytes_from(FrameEncoding::Plain, 1)[2..], *words[1].as_bytes());
        }
    }
}
