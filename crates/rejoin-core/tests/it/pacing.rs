//! Pacing: producers wait for followers, and never for readers.

use std::{convert::Infallible, pin::pin, sync::Arc, task::Poll};

use futures_util::poll;
use parking_lot::Mutex;
use rejoin_core::{
    Batch, LagPolicy, Progress, Reader, SlowReaderPolicy, Stream, StreamConfig, Wake,
};
use rejoin_protocol::{Position, StreamNumber};

use crate::support::{frames, limit, topic};

/// Counts the notifications.
#[derive(Debug, Default)]
struct CountingWake(Mutex<usize>);

impl Wake for CountingWake {
    fn stream_advanced(&self, _stream: StreamNumber) {
        *self.0.lock() += 1;
    }

    fn outbox_filled(&self, _slot: usize) {}
}

async fn publish(stream: &Stream) -> Position {
    let text = |position: Position| Ok::<_, Infallible>(position.offset.to_string());
    let Ok(position) = stream.publish(text).await;
    position
}

#[tokio::test]
async fn a_stuck_reader_slows_no_producer_and_no_reader() {
    let stream = topic(frames(8));
    let wake = Arc::new(CountingWake::default());
    let follower = stream.follow(wake, 0);
    let stuck = Reader { next: 0 };
    let mut batch = Batch::default();
    let mut cursor = 0;
    for _ in 0..10_000 {
        let mut published = pin!(publish(&stream));
        assert!(poll!(&mut published).is_ready(), "the producer waits");
        assert_eq!(follower.take(cursor, limit(100), &mut batch), Progress::Frames);
        cursor = batch.end();
    }

    let Progress::Behind { oldest, notice } = stream.read(stuck, limit(100), &mut batch) else {
        panic!("the stuck reader is behind");
    };

    assert_eq!(notice.missed, 10_000 - 8);
    stream.read(Reader { next: oldest }, limit(100), &mut batch);
    assert_eq!(batch.frames.len(), 8);
}

#[tokio::test]
async fn a_producer_waits_for_a_follower_and_loses_nothing() {
    let stream = topic(frames(8));
    let follower = stream.follow(Arc::new(CountingWake::default()), 0);
    let mut batch = Batch::default();
    let mut published = 0;
    while poll!(pin!(publish(&stream))).is_ready() {
        published += 1;
    }

    assert_eq!(published, 4, "half of the retention");

    let mut waiting = pin!(publish(&stream));

    assert!(poll!(&mut waiting).is_pending());
    assert_eq!(follower.take(0, limit(100), &mut batch), Progress::Frames);
    assert_eq!(batch.frames.len(), 4);
    assert!(matches!(poll!(&mut waiting), Poll::Ready(Position { offset: 5, .. })));
}

#[tokio::test]
async fn a_producer_does_not_wait_for_a_dropped_follower() {
    let stream = topic(frames(2));
    let follower = stream.follow(Arc::new(CountingWake::default()), 0);
    assert!(poll!(pin!(publish(&stream))).is_ready());

    let mut waiting = pin!(publish(&stream));

    assert!(poll!(&mut waiting).is_pending());
    drop(follower);
    assert!(poll!(&mut waiting).is_ready());
}

#[tokio::test]
async fn a_follower_is_notified_once_until_it_has_taken_all() {
    let stream = topic(frames(100));
    let wake = Arc::new(CountingWake::default());
    let follower = stream.follow(Arc::clone(&wake) as _, 0);
    let mut batch = Batch::default();
    for _ in 0..3 {
        publish(&stream).await;
    }

    assert_eq!(*wake.0.lock(), 1);
    follower.take(0, limit(100), &mut batch);
    publish(&stream).await;
    assert_eq!(*wake.0.lock(), 1, "a follower that took frames calls again by itself");
    follower.take(3, limit(100), &mut batch);
    assert_eq!(follower.take(4, limit(100), &mut batch), Progress::UpToDate);
    publish(&stream).await;
    assert_eq!(*wake.0.lock(), 2);
}

#[tokio::test]
async fn a_follower_that_starts_behind_is_notified_at_once() {
    let stream = topic(frames(100));
    publish(&stream).await;
    let wake = Arc::new(CountingWake::default());
    let _follower = stream.follow(Arc::clone(&wake) as _, 0);
    assert_eq!(*wake.0.lock(), 1);
}

#[tokio::test]
async fn a_frame_is_encoded_once_for_any_number_of_readers() {
    thread_local!(static ENCODED: std::cell::Cell<u32> = const { std::cell::Cell::new(0) });
    fn encode(_kind: rejoin_core::PayloadKind, parts: &[&[u8]]) -> bytes::Bytes {
        ENCODED.set(ENCODED.get() + 1);
        parts.concat().into()
    }

    let stream = Stream::new(StreamConfig {
        number: StreamNumber(1),
        retention: frames(10),
        lag: LagPolicy::Gap {
            policy: SlowReaderPolicy::CatchUp,
            encode: Arc::new(|_| bytes::Bytes::new()),
        },
        encode,
    });

    publish(&stream).await;
    let mut batches = Vec::new();
    for _ in 0..100 {
        let mut batch = Batch::default();
        stream.read(Reader { next: 0 }, limit(10), &mut batch);
        batches.push(batch.frames.remove(0));
    }

    assert_eq!(ENCODED.get(), 1);
    assert!(
        batches.iter().all(|frame| frame.plain().as_ptr() == batches[0].plain().as_ptr()),
        "one copy"
    );
}
