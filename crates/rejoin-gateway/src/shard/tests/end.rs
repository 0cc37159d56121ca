//! Streams that end, and what is counted of frames that nobody gets.

use rejoin_core::{Form, Item, Kind, SlowReader};
use rejoin_protocol::{
    CloseCode, StreamNumber,
    binary::{BinaryKind, Head},
};

use super::{Bench, Far, Heard, number, publish, settle, stream};

fn print(stream: &rejoin_core::Stream, bytes: &[u8]) {
    let head = Head { kind: BinaryKind::Output, stream: StreamNumber(9), offset: 0 };
    stream.append(Kind::Binary, 1, &[&head.to_bytes(), bytes]);
}

async fn hears_all_and_the_end(far: &mut Far, count: usize) {
    for _ in 0..count {
        assert_eq!(far.next().await, Heard::Binary(vec![b'x'; 5000]));
    }
    assert_eq!(far.next().await, Heard::Close(1000));
    assert_eq!(far.next().await, Heard::End);
}

#[tokio::test]
async fn a_raw_socket_is_closed_after_the_last_byte_of_a_stream_that_ends() {
    let bench = Bench::new(1);
    let stream = stream(100, SlowReader::CatchUp);
    let mut before = bench.connect(Form::Raw);
    before.reads(&stream, 0);
    let mut plain = bench.connect(Form::Plain);
    plain.reads(&stream, 20);
    settle().await;
    // More than a socket takes that is not read.
    (0..20).for_each(|_| print(&stream, &[b'x'; 5000]));
    settle().await;
    stream.finish();
    settle().await;
    hears_all_and_the_end(&mut before, 20).await;
    let mut after = bench.connect(Form::Raw);
    after.reads(&stream, 18);
    hears_all_and_the_end(&mut after, 2).await;
    // Whoever speaks the protocol was told, and may have other streams.
    plain
        .outbox
        .push(Item::Message(rejoin_websocket::encode(rejoin_websocket::Kind::Text, &[b"7"])));
    assert_eq!(plain.next().await, number(7));
    bench.shutdown.begin();
}

#[tokio::test]
async fn a_reader_of_the_latest_skips_to_it_and_hears_how_many_it_skipped() {
    let bench = Bench::new(1);
    let stream = stream(1000, SlowReader::Latest);
    let mut far = bench.connect(Form::Plain);
    far.reads(&stream, 0);
    settle().await;
    for at in 0..100 {
        publish(&stream, at, 1000);
        settle().await;
    }
    let mut expected = 0;
    loop {
        match far.next().await {
            Heard::Text(gap) if gap.is_object() => {
                assert_eq!(gap["reason"], "latest");
                expected += gap["missed"].as_u64().unwrap();
                assert_eq!(expected, 99, "all but the newest");
                assert_eq!(bench.dropped("latest"), gap["missed"].as_u64().unwrap());
            }
            heard => {
                assert_eq!(heard, number(expected));
                expected += 1;
            }
        }
        if expected == 100 {
            break;
        }
    }
    assert!(bench.dropped("latest") > 50);
    bench.shutdown.begin();
}

#[tokio::test]
async fn a_strict_stream_lets_go_of_a_reader_whose_next_frame_is_gone() {
    let bench = Bench::new(1);
    let stream = stream(4, SlowReader::Disconnect);
    let mut far = bench.connect(Form::Plain);
    far.reads(&stream, 0);
    settle().await;
    for at in 0..100 {
        publish(&stream, at, 1000);
        settle().await;
    }
    let mut heard = far.rest().await;
    assert_eq!(heard.pop(), Some(Heard::Close(CloseCode::TooSlow.code())));
    let Some(Heard::Text(closing)) = heard.pop() else { panic!("no word") };
    assert_eq!(closing["payload"]["reason"], "too_slow");
    let count = heard.len() as u64;
    assert!(heard.into_iter().eq((0..count).map(number)), "no frame after the gap");
    assert_eq!(bench.dropped("slow"), 100 - count);
    assert_eq!(bench.metrics.messages_sent.get(), count);
    bench.shutdown.begin();
}

#[tokio::test]
async fn frames_that_a_reader_leaves_unread_are_counted() {
    let bench = Bench::new(1);
    let stream = stream(4, SlowReader::CatchUp);
    let mut far = bench.connect(Form::Plain);
    far.reads(&stream, 0);
    settle().await;
    for at in 0..50 {
        publish(&stream, at, 1000);
        settle().await;
    }
    let sent = bench.metrics.messages_sent.get();
    assert!(sent < 50);
    far.outbox.push(Item::Unread(stream.number()));
    while far.next().await != number(sent - 1) {}
    settle().await;
    assert_eq!(bench.dropped("closed"), 50 - sent);
    far.outbox.push(Item::Message(vec![0x81, 1, b'7'].into()));
    drop(far);
    settle().await;
    bench.shutdown.begin();
}
