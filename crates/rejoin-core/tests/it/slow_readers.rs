//! Slow readers by policy, and finished streams.

use std::{cell::RefCell, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use proptest::prelude::*;
use rejoin_core::{
    Batch, Frame, FrameEncoding, PayloadKind, Progress, Reader, SlowReaderPolicy, TerminalEvent,
    Wake,
};
use rejoin_protocol::{Exit, Role, StreamNumber};

use crate::{
    session,
    support::{connection, encode, frames, hub, limit, topic, topic_with},
};

proptest! {
    #[test]
    fn a_latest_reader_skips_to_the_newest_frame(
        retention in 1usize..12,
        appended in 0u64..40,
        next in any::<prop::sample::Index>(),
    ) {
        let stream = topic_with(frames(retention), SlowReaderPolicy::Latest);
        for number in 0..appended {
            stream.append(PayloadKind::Text, 1, &[number.to_string().as_bytes()]);
        }

        let next = next.index(usize::try_from(appended).unwrap() + 1) as u64;
        let mut reader = Reader { next };
        if let Some((skipped, notice)) = stream.skip(reader) {
            prop_assert_eq!(notice.reason, "latest");
            prop_assert_eq!(notice.missed, skipped.next - next);
            prop_assert_eq!(notice.position.offset, skipped.next);
            reader = skipped;
        }

        // In any case at most the newest frame is left.
        let mut batch = Batch::default();
        let progress = stream.read(reader, limit(100), &mut batch);
        if next == appended {
            prop_assert_eq!(progress, Progress::UpToDate);
        } else {
            prop_assert_eq!(progress, Progress::Frames);
            prop_assert_eq!(batch.frames.len(), 1);
            prop_assert_eq!(batch.end(), appended);
        }
    }
}

#[test]
fn only_the_latest_policy_lets_readers_skip() {
    for policy in [SlowReaderPolicy::CatchUp, SlowReaderPolicy::Disconnect] {
        let stream = topic_with(frames(8), policy);
        (0..4).for_each(|_| _ = stream.append(PayloadKind::Text, 1, &[b"x"]));
        assert_eq!(stream.skip(Reader { next: 0 }), None);
    }
}

#[derive(Debug, Default)]
struct CountingWake(Mutex<usize>);

impl Wake for CountingWake {
    fn stream_advanced(&self, _stream: StreamNumber) {
        *self.0.lock() += 1;
    }

    fn outbox_filled(&self, _slot: usize) {}
}

#[test]
fn a_reader_of_a_finished_stream_finishes_after_all_frames() {
    let stream = topic(frames(8));
    let wake = Arc::new(CountingWake::default());
    let follower = stream.follow(Arc::clone(&wake) as _, 0);
    stream.append(PayloadKind::Text, 1, &[b"last"]);
    let mut batch = Batch::default();
    assert_eq!(follower.take(0, limit(8), &mut batch), Progress::Frames);
    assert_eq!(follower.take(1, limit(8), &mut batch), Progress::UpToDate);
    assert_eq!(*wake.0.lock(), 1);
    stream.finish();
    assert_eq!(*wake.0.lock(), 2, "followers are notified of the end");
    assert_eq!(follower.take(1, limit(8), &mut batch), Progress::Finished);
    // A reader that is behind gets the remaining frames first.
    assert_eq!(stream.read(Reader { next: 0 }, limit(8), &mut batch), Progress::Frames);
}

#[test]
fn each_encoding_of_a_frame_is_computed_once_on_demand() {
    thread_local!(static CALLS: RefCell<Vec<FrameEncoding>> = const { RefCell::new(Vec::new()) });
    fn transcode(frame: &Frame, encoding: FrameEncoding) -> Bytes {
        CALLS.with_borrow_mut(|calls| calls.push(encoding));
        [frame.plain(), format!("{encoding:?}").as_bytes()].concat().into()
    }

    let frame = Frame::new(encode, PayloadKind::Text, &[b"frame"]);

    assert_eq!(frame.payload(), "frame");

    let copies = [frame.clone(), frame.clone(), frame];
    for copy in &copies {
        assert_eq!(copy.encoded(FrameEncoding::Plain, transcode), "tframe");
        assert_eq!(copy.encoded(FrameEncoding::Raw, transcode), "tframeRaw");
    }

    assert_eq!(CALLS.take(), [FrameEncoding::Raw]);

    assert_eq!(copies[1].encoded(FrameEncoding::Compressed, transcode), "tframeCompressed");
    assert_eq!(copies[0].encoded(FrameEncoding::Compressed, transcode), "tframeCompressed");
    assert_eq!(CALLS.take(), [FrameEncoding::Compressed]);
}

#[tokio::test]
async fn nothing_is_appended_to_an_ended_session() {
    let (hub, mut programs, _shutdown) = hub();
    let (session, mut program) = session::start(&hub, &mut programs).await;
    let ann = connection("ann");
    let small = session::request(Role::Writer, Some(session::size(80, 24)));
    let attachment = session.attach(&ann, small).await.unwrap();

    // The program reads nothing, so the size waits for room in its queue.
    while attachment.input(0, "x".into(), session::text_receipt(&ann, "x")).is_ok() {}
    attachment.resize(session::size(100, 30)).unwrap();
    program.events.send(TerminalEvent::Exit(Exit::default())).await.unwrap();
    while session.info().exit.is_none() {
        tokio::task::yield_now().await;
    }

    // The queue has room again, but the program has ended.
    while program.controls.try_recv().is_ok() {}
    let (end, _) = session.stream().next();
    let large = session::request(Role::Writer, Some(session::size(120, 40)));
    let other = session.attach(&ann, large).await.unwrap();
    other.resize(session::size(60, 10)).unwrap();
    drop((attachment, other));
    session::fence(&session).await;

    assert_eq!((session.stream().next().0, session.info().cols), (end, 80));

    let reader = Reader { next: end };
    let progress = session.stream().read(reader, limit(8), &mut Batch::default());

    assert_eq!(progress, Progress::Finished);
}
