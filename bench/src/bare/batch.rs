//! Batches of the bare loop: published frames, grouped by topic and wrapped for subscribers.

use anyhow::Context as _;
use bytes::Bytes;
use rejoin_websocket::deflate;

use super::Options;
use crate::frame::{self, Header};
use crate::topics::DIGITS;

/// The subscribers of one topic, and the frames that are sent to them.
#[derive(Debug, Default)]
pub(super) struct Topic {
    /// Indices of sockets.
    pub(super) subscribers: Vec<usize>,
    pub(super) batch: Vec<u8>,
}

/// Appends the complete frames at the start of `bytes` to the batches of their topics.
///
/// Each frame is unmasked and wrapped. A topic is added to `touched` with its first frame.
/// Returns the number of bytes, and the number of text frames in them.
pub(super) fn take_frames(
    bytes: &mut [u8],
    options: &Options,
    topics: &mut [Topic],
    touched: &mut Vec<usize>,
) -> anyhow::Result<(usize, usize)> {
    let (mut used, mut frames) = (0, 0);
    while let Some(header) = Header::read(&bytes[used..]) {
        let payload = &mut bytes[used + header.start..used + header.end];
        used += header.end;
        if let Some(key) = header.mask {
            frame::unmask(payload, key);
        }
        // Pings and close frames are not published.
        if header.opcode != frame::TEXT {
            continue;
        }

        let (number, data) = split_tag(payload)?;
        let topic = topics.get_mut(number).with_context(|| format!("no topic {number}"))?;
        if topic.batch.is_empty() {
            touched.push(number);
        }
        let parts = [options.prefix.as_bytes(), data, options.suffix.as_bytes()];
        frame::write_plain(&mut topic.batch, frame::TEXT, &parts);
        frames += 1;
    }
    Ok((used, frames))
}

/// Splits the number of the topic from the data of a message.
fn split_tag(payload: &[u8]) -> anyhow::Result<(usize, &[u8])> {
    let (tag, data) = payload.split_at_checked(DIGITS).context("a frame has no topic")?;
    let number = str::from_utf8(tag)?.parse().context("the topic is no number")?;
    Ok((number, data))
}

/// Returns the frames of a batch.
pub(super) fn split(mut batch: &[u8]) -> Vec<Bytes> {
    let mut frames = Vec::new();
    while let Some(header) = Header::read(batch) {
        let (frame, rest) = batch.split_at(header.end);
        frames.push(Bytes::copy_from_slice(frame));
        batch = rest;
    }
    frames
}

/// Replaces a batch by its frames, each compressed if that is smaller.
pub(super) fn compress(frames: &[Bytes], batch: &mut Vec<u8>) {
    batch.clear();
    for frame in frames {
        batch.extend_from_slice(&deflate(frame).unwrap_or_else(|| frame.clone()));
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options() -> Options {
        Line::parse_from(["bare", "--prefix", "<", "--suffix", ">"]).options
    }

    fn topics(count: usize) -> Vec<Topic> {
        (0..count).map(|_| Topic::default()).collect()
    }

    #[test]
    fn complete_frames_are_unmasked_and_wrapped() {
        let mut bytes = Vec::new();
        frame::write_masked(&mut bytes, frame::TEXT, b"0000one");
        frame::write_masked(&mut bytes, frame::TEXT, b"0000two");
        let whole = bytes.len();
        frame::write_masked(&mut bytes, frame::TEXT, b"0000three");
        bytes.pop();
        let (mut topics, mut touched) = (topics(1), Vec::new());

        let taken = take_frames(&mut bytes, &options(), &mut topics, &mut touched).unwrap();

        assert_eq!(taken, (whole, 2));
        assert_eq!(topics[0].batch, b"\x81\x05<one>\x81\x05<two>");
        assert_eq!(touched, [0]);
    }

    #[test]
    fn a_frame_goes_to_the_topic_of_its_tag() {
        let mut bytes = Vec::new();
        for text in ["0002a", "0000b", "0002c"] {
            frame::write_masked(&mut bytes, frame::TEXT, text.as_bytes());
        }
        let (mut topics, mut touched) = (topics(3), Vec::new());
        take_frames(&mut bytes, &options(), &mut topics, &mut touched).unwrap();

        assert_eq!(touched, [2, 0]);
        assert_eq!(topics[2].batch, b"\x81\x03<a>\x81\x03<c>");
        assert_eq!(topics[0].batch, b"\x81\x03<b>");

        let mut bytes = Vec::new();
        frame::write_masked(&mut bytes, frame::TEXT, b"0003d");
        assert!(take_frames(&mut bytes, &options(), &mut topics, &mut touched).is_err());
    }

    #[test]
    fn each_frame_of_a_batch_is_compressed_alone() {
        let mut batch = Vec::new();
        let text = "again and again, ".repeat(100);
        frame::write_plain(&mut batch, frame::TEXT, &[text.as_bytes()]);
        frame::write_plain(&mut batch, frame::TEXT, &[b"short"]);
        let frames = split(&batch);
        let whole = batch.len();

        compress(&frames, &mut batch);

        assert!(batch.len() < whole / 5);
        let first = Header::read(&batch).unwrap();
        assert!(first.is_compressed);
        assert_eq!(&batch[first.end..], b"\x81\x05short");
    }
}
