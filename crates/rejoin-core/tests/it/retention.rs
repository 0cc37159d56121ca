//! The retention of a stream.

use std::{num::NonZeroUsize, time::Duration};

use rejoin_core::{Batch, PayloadKind, Progress, ReadLimit, Reader, Retention, Stream};

use crate::support::{frames, limit, topic};

fn retained(stream: &Stream) -> usize {
    let mut batch = Batch::default();
    let mut reader = Reader { next: 0 };
    if let Progress::Behind { oldest, .. } = stream.read(reader, limit(1), &mut batch) {
        reader.next = oldest;
    }

    stream.read(reader, limit(usize::MAX >> 1), &mut batch);
    batch.frames.len()
}

#[test]
fn frames_beyond_the_count_are_dropped() {
    let stream = topic(frames(3));
    for _ in 0..10 {
        stream.append(PayloadKind::Text, 1, &[b"x"]);
    }
    assert_eq!(retained(&stream), 3);
}

#[test]
fn bytes_beyond_the_bound_are_dropped_except_the_newest_frame() {
    let stream = topic(Retention { bytes: NonZeroUsize::new(10).unwrap(), ..frames(100) });
    for _ in 0..10 {
        // Four bytes with the encoded kind.
        stream.append(PayloadKind::Text, 1, &[b"abc"]);
    }

    assert_eq!(retained(&stream), 2);
    stream.append(PayloadKind::Text, 1, &[&[0; 100]]);
    assert_eq!(retained(&stream), 1);
}

#[tokio::test(start_paused = true)]
async fn expired_frames_are_dropped_on_access() {
    let stream = topic(Retention { age: Some(Duration::from_secs(60)), ..frames(100) });
    stream.append(PayloadKind::Text, 1, &[b"old"]);
    let position = stream.start(None).await.unwrap().position;
    tokio::time::advance(Duration::from_secs(40)).await;
    stream.append(PayloadKind::Text, 1, &[b"new"]);
    tokio::time::advance(Duration::from_secs(40)).await;

    assert_eq!(stream.start(Some(position)).await.unwrap().replayed, 1);
    assert_eq!(retained(&stream), 1);
    tokio::time::advance(Duration::from_secs(40)).await;
    assert!(stream.expire().is_some());
    assert_eq!(retained(&stream), 0);
}

#[test]
fn a_read_stays_within_its_limit_except_for_one_frame() {
    let stream = topic(frames(100));
    for _ in 0..10 {
        stream.append(PayloadKind::Text, 1, &[&[0; 99]]);
    }

    let mut batch = Batch::default();
    let mut take = |frames, bytes| {
        let frames = NonZeroUsize::new(frames).unwrap();
        stream.read(Reader { next: 0 }, ReadLimit { frames, bytes }, &mut batch);
        batch.frames.len()
    };

    assert_eq!(take(4, usize::MAX), 4);
    assert_eq!(take(100, 350), 3);
    assert_eq!(take(100, 1), 1);
}
