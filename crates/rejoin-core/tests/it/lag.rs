//! Slow readers by policy, and streams that end.

use std::sync::Arc;

use parking_lot::Mutex;
use proptest::prelude::*;
use rejoin_core::{
    Batch, Frame, FrameEncoding, PayloadKind, Progress, Reader, SlowReaderPolicy, TerminalEvent,
    Wake,
};
use rejoin_protocol::{Exit, Role, StreamNumber};

use crate::{
    session,
    support::{connection, frames, hub, limit, topic, topic_with},
};

proptest! {
    #[test]
    fn a_reader_of_the_latest_hears_the_newest_and_how_many_came_before_it(
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
        // Whether it skipped or not: at most one frame is left, and it is the newest.
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
fn only_a_stream_of_the_latest_lets_its_readers_skip() {
    for policy in [SlowReaderPolicy::CatchUp, SlowReaderPolicy::Disconnect] {
        let stream = topic_with(frames(8), policy);
        (0..4).for_each(|_| _ = stream.append(PayloadKind::Text, 1, &[b"x"]));
        assert_eq!(stream.skip(Reader { next: 0 }), None);
    }
}

#[derive(Debug, Default)]
struct Told(Mutex<usize>);

impl Wake for Told {
    fn stream_advanced(&self, _stream: StreamNumber) {
        *self.0.lock() += 1;
    }

    fn outbox_filled(&self, _slot: usize) {}
}

#[test]
fn who_has_read_all_of_a_stream_that_ended_has_finished() {
    let stream = topic(frames(8));
    let wake = Arc::new(Told::default());
    let follower = stream.follow(Arc::clone(&wake) as _, 0);
    stream.append(PayloadKind::Text, 1, &[b"last"]);
    let mut batch = Batch::default();
    assert_eq!(follower.take(0, limit(8), &mut batch), Progress::Frames);
    assert_eq!(follower.take(1, limit(8), &mut batch), Progress::UpToDate);
    assert_eq!(*wake.0.lock(), 1);
    stream.finish();
    assert_eq!(*wake.0.lock(), 2, "its followers hear of the end");
    assert_eq!(follower.take(1, limit(8), &mut batch), Progress::Finished);
    // Who is behind gets the rest first.
    assert_eq!(stream.read(Reader { next: 0 }, limit(8), &mut batch), Progress::Frames);
}

#[test]
fn each_form_of_a_frame_is_made_once_and_only_when_it_is_asked_for() {
    thread_local!(static MADE: std::cell::RefCell<Vec<FrameEncoding>> = const { std::cell::RefCell::new(Vec::new()) });
    fn transcode(plain: &bytes::Bytes, form: FrameEncoding) -> bytes::Bytes {
        MADE.with_borrow_mut(|made| made.push(form));
        [plain, format!("{form:?}").as_bytes()].concat().into()
    }
    let frame = Frame::from(bytes::Bytes::from_static(b"frame"));
    let copies = [frame.clone(), frame.clone(), frame];
    for copy in &copies {
        assert_eq!(copy.form(FrameEncoding::Plain, transcode), "frame");
        assert_eq!(copy.form(FrameEncoding::Raw, transcode), "frameRaw");
    }
    assert_eq!(MADE.take(), [FrameEncoding::Raw]);
    assert_eq!(copies[1].form(FrameEncoding::Compressed, transcode), "frameCompressed");
    assert_eq!(copies[0].form(FrameEncoding::Compressed, transcode), "frameCompressed");
    assert_eq!(MADE.take(), [FrameEncoding::Compressed]);
}

#[tokio::test]
async fn a_session_whose_program_has_ended_says_nothing_more() {
    let (hub, mut programs, _shutdown) = hub();
    let (session, mut program) = session::start(&hub, &mut programs).await;
    let ann = connection("ann");
    let small = session::request(Role::Writer, Some(session::size(80, 24)));
    let attachment = session.attach(&ann, small).await.unwrap();
    // A size that the program cannot hear of, because it reads nothing.
    while attachment.input(0, "x".into(), session::text_receipt(&ann, "x")).is_ok() {}
    attachment.resize(session::size(100, 30)).unwrap();
    program.events.send(TerminalEvent::Exit(Exit::default())).await.unwrap();
    while session.info().exit.is_none() {
        tokio::task::yield_now().await;
    }
    // It could hear of it now, and is no more.
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
