//! What a stream keeps.

use std::{num::NonZeroUsize, time::Duration};

use rejoin_core::{Batch, PayloadKind, Progress, ReadLimit, Reader, Retention, Stream};

use crate::support::{frames, limit, topic};

fn held(stream: &Stream) -> usize {
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
    assert_eq!(held(&stream), 3);
}

#[test]
fn bytes_beyond_the_bound_are_dropped_but_never_the_newest_frame() {
    let stream = topic(Retention { bytes: NonZeroUsize::new(10).unwrap(), ..frames(100) });
    for _ in 0..10 {
        // Four bytes with the kind.
        stream.append(PayloadKind::Text, 1, &[b"abc"]);
    }
    assert_eq!(held(&stream), 2);
    stream.append(PayloadKind::Text, 1, &[&[0; 100]]);
    assert_eq!(held(&stream), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_dropped_when_somebody_looks() {
    let stream = topic(Retention { age: Some(Duration::from_secs(60)), ..frames(100) });
    stream.append(PayloadKind::Text, 1, &[b"old"]);
    let position = stream.start(None).await.unwrap().position;
    tokio::time::advance(Duration::from_secs(40)).await;
    stream.append(PayloadKind::Text, 1, &[b"new"]);
    tokio::time::advance(Duration::from_secs(40)).await;
    assert_eq!(stream.start(Some(position)).await.unwrap().replayed, 1);
    assert_eq!(held(&stream), 1);
    tokio::time::advance(Duration::from_secs(40)).await;
    assert!(stream.expire().is_some());
    assert_eq!(held(&stream), 0);
}

#[test]
fn a_reading_takes_no_more_than_its_limit_and_at_least_one_frame() {
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
