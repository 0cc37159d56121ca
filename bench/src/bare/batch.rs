//! Batches of the bare loop: published frames, grouped by topic and wrapped for subscribers.

use anyhow::Context as _;
use bytes::Bytes;
use rejoin_websocket::{Decoder, Event, deflate};

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

/// Appends the text frames that these bytes complete to the batches of their topics.
///
/// Each frame is unmasked and wrapped. A topic is added to `touched` with its first frame.
/// Returns the number of frames.
pub(super) fn take_frames(
    decoder: &mut Decoder,
    bytes: &mut [u8],
    options: &Options,
    topics: &mut [Topic],
    touched: &mut Vec<usize>,
) -> anyhow::Result<usize> {
    let mut frames = 0;
    let mut feed = decoder.feed(bytes);
    while let Some(event) = feed.next()? {
        // Pings and close frames are not published.
        let Event::Text(text) = event else { continue };

        let (number, data) = text.split_at_checked(DIGITS).context("a frame has no topic")?;
        let number: usize = number.parse().context("the topic is no number")?;
        let topic = topics.get_mut(number).with_context(|| format!("no topic {number}"))?;
        if topic.batch.is_empty() {
            touched.push(number);
        }
        let parts = [&options.prefix, data, &options.suffix].map(str::as_bytes);
        frame::write_plain(&mut topic.batch, frame::TEXT, &parts);
        frames += 1;
    }
    Ok(frames)
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
    use rejoin_websocket::Side;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    /// Returns the number of frames, the batches, and the topics in the order of their frames.
    fn take(bytes: &mut [u8]) -> anyhow::Result<(usize, Vec<Vec<u8>>, Vec<usize>)> {
        let options = Line::parse_from(["bare", "--prefix", "<", "--suffix", ">"]).options;
        let mut decoder = Decoder::new(Side::Server, 1024);
        let (mut topics, mut touched) = ([(); 3].map(|()| Topic::default()), Vec::new());
        let frames = take_frames(&mut decoder, bytes, &options, &mut topics, &mut touched)?;
        Ok((frames, topics.map(|topic| topic.batch).into(), touched))
    }

    #[test]
    fn complete_frames_are_unmasked_and_wrapped_by_topic() {
        let mut bytes = Vec::new();
        for text in ["0002one", "0000two", "0002three", "0000four"] {
            frame::write_masked(&mut bytes, frame::TEXT, text.as_bytes());
        }
        bytes.pop();

        let (frames, batches, touched) = take(&mut bytes).unwrap();

        assert_eq!((frames, touched), (3, vec![2, 0]));
        assert_eq!(batches[2], b"\x81\x05<one>\x81\x07<three>");
        assert_eq!(batches[0], b"\x81\x05<two>");

        let mut bytes = Vec::new();
        frame::write_masked(&mut bytes, frame::TEXT, b"0003d");
        assert!(take(&mut bytes).is_err());
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
