//! Frames laid one after another, so that many of them are one write.

use bytes::Bytes;
use rejoin_core::{Batch, Frame, FrameEncoding, ReadLimit, Seq};

use crate::shard::form;

/// Frames that one write takes at most.
const MAX_FRAMES: std::num::NonZeroUsize = std::num::NonZeroUsize::new(1024).expect("not zero");
/// Bytes that one write takes at most, if it takes more than one frame.
const MAX_BYTES: usize = 256 * 1024;

/// How much a write takes from a stream.
pub(super) const LIMIT: ReadLimit = ReadLimit { frames: MAX_FRAMES, bytes: MAX_BYTES };

/// Frames taken from a stream, and their bytes in one piece for each form that is asked for.
///
/// One copy for each shard saves each socket's write the walk over many small pieces.
#[derive(Debug, Default)]
pub(super) struct Joined {
    pub(super) batch: Batch,
    layouts: [Layout; FrameEncoding::ALL.len()],
}

/// The bytes of a batch in one form.
#[derive(Debug, Default)]
struct Layout {
    bytes: Vec<u8>,
    /// Where each frame ends in `bytes`; empty until the layout is asked for.
    ends: Vec<usize>,
}

impl Joined {
    /// Forgets what was laid out: the batch is another one.
    pub(super) fn renew(&mut self) {
        for layout in &mut self.layouts {
            layout.ends.clear();
        }
    }

    /// The frames from frame `from` on.
    pub(super) fn frames_from(&self, from: Seq) -> &[Frame] {
        &self.batch.frames[self.index(from)..]
    }

    /// The bytes from frame `from` on; empty if there is none.
    pub(super) fn bytes_from(&mut self, form: FrameEncoding, from: Seq) -> &[u8] {
        let index = self.index(from);
        if index == self.batch.frames.len() {
            return &[];
        }
        // A single frame is written from where it is.
        if let [frame] = self.batch.frames.as_slice() {
            return form::of(frame, form);
        }
        let layout = &mut self.layouts[form as usize];
        if layout.ends.is_empty() {
            layout.bytes.clear();
            for frame in &self.batch.frames {
                layout.bytes.extend_from_slice(form::of(frame, form));
                layout.ends.push(layout.bytes.len());
            }
        }
        &layout.bytes[layout.start_of(index)..]
    }

    /// After `written` of the bytes from frame `from` on: the frame that comes next, and what is
    /// left of the one that was cut.
    pub(super) fn after(
        &self,
        form: FrameEncoding,
        from: Seq,
        written: usize,
    ) -> (Seq, Option<Bytes>) {
        let frames = &self.batch.frames;
        let index = self.index(from);
        let (done, cut) = match frames.as_slice() {
            [] | [_] => (index, written),
            _ => {
                let layout = &self.layouts[form as usize];
                let at = layout.start_of(index) + written;
                // Frames of which this form has nothing end where the one before them ends.
                let done = layout.ends.partition_point(|end| *end <= at);
                (done, at - layout.start_of(done))
            }
        };
        let next = self.batch.first + done as Seq;
        match frames.get(done).map(|frame| form::of(frame, form)) {
            Some(bytes) if cut == bytes.len() => (next + 1, None),
            Some(bytes) if cut > 0 => (next + 1, Some(bytes.slice(cut..))),
            Some(_) | None => (next, None),
        }
    }

    fn index(&self, from: Seq) -> usize {
        let index = from.saturating_sub(self.batch.first);
        usize::try_from(index).unwrap_or(usize::MAX).min(self.batch.frames.len())
    }
}

impl Layout {
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

    /// A text, an output, or an acknowledgement: long ones are worth compressing.
    fn frame() -> impl Strategy<Value = Frame> {
        let length = prop_oneof![0usize..20, 300usize..900];
        (0u8..3, length, any::<u8>()).prop_map(|(what, length, byte)| {
            let bytes = vec![byte % 128; length];
            let head = |kind| BinaryHeader { kind, stream: StreamNumber(3), offset: 300 }.to_bytes();
            let frame = |kind, parts: &[&[u8]]| Frame::new(crate::encode, kind, parts);
            match what {
                0 => frame(PayloadKind::Text, &[&bytes]),
                1 => frame(PayloadKind::Binary, &[&head(BinaryKind::Output), &bytes]),
                _ => frame(PayloadKind::Binary, &[&head(BinaryKind::InputAck), &bytes]),
            }
        })
    }

    proptest! {
        #[test]
        fn a_write_that_is_cut_anywhere_goes_on_with_exactly_what_was_not_taken(
            frames in prop::collection::vec(frame(), 1..12),
            form in prop::sample::select(&FrameEncoding::ALL[..]),
            from in any::<prop::sample::Index>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let from = from.index(frames.len());
            let expected: Vec<u8> =
                frames[from..].iter().flat_map(|frame| form::of(frame, form).to_vec()).collect();
            let mut joined = Joined { batch: Batch { first: 7, frames }, ..Joined::default() };
            joined.renew();
            let from = 7 + from as Seq;
            prop_assert_eq!(joined.bytes_from(form, from), &expected[..]);
            let written = cut.index(expected.len() + 1);
            let (next, rest) = joined.after(form, from, written);
            let mut sent = expected[..written].to_vec();
            sent.extend(rest.unwrap_or_default());
            sent.extend(joined.bytes_from(form, next));
            prop_assert_eq!(sent, expected);
            if written == joined.bytes_from(form, from).len() {
                prop_assert_eq!(next, joined.batch.end());
            }
        }
    }

    #[test]
    fn a_layout_of_an_earlier_batch_is_not_written_again() {
        let text = |text: &str| Frame::new(crate::encode, PayloadKind::Text, &[text.as_bytes()]);
        let mut joined = Joined::default();
        for words in [["a", "b"], ["c", "d"]] {
            joined.batch = Batch { first: 0, frames: words.map(text).to_vec() };
            joined.renew();
            assert_eq!(joined.bytes_from(FrameEncoding::Plain, 1)[2..], *words[1].as_bytes());
        }
    }
}
