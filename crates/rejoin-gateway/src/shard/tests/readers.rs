//! Readers of a connection whose socket is full: they hold no frames, and lost frames are counted.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use rejoin_core::{Caps, Identity};
use rejoin_protocol::{CloseCode, TopicName, UserId};
use rejoin_websocket::{Decoder, Event, Side};
use serde_json::{Value, json, value::to_raw_value};

use super::{TestPeer, TestShard};

const COUNT: u64 = 40;

/// Returns a subscriber that has read none of [`COUNT`] messages of 3 kB: its socket is full.
async fn blocked_subscriber() -> (TestShard, TestPeer) {
    let mut test = TestShard::new(|_| {});
    let mut peer = test.connect("ann");
    peer.request("subscribe", &json!({ "topic": "all" }));
    test.run_until_idle().await;
    let publisher = Identity::new(UserId::new("bob").unwrap(), Caps::user());
    let topic = TopicName::new("all").unwrap();
    for number in 0..COUNT {
        let data = to_raw_value(&json!({ "number": number, "pad": "x".repeat(3000) })).unwrap();
        let published = test.gateway.hub.publish(&topic, &publisher, &data, None);
        published.now_or_never().unwrap().unwrap();
        test.run_until_idle().await;
    }

    (test, peer)
}

/// Reads until the close frame. Returns the numbers of the messages and the close code.
fn read_all(test: &mut TestShard, peer: &mut TestPeer) -> (Vec<u64>, Option<u16>) {
    let mut decoder = Decoder::new(Side::Client, 1 << 20);
    let (mut numbers, mut close) = (Vec::new(), None);
    for _ in 0..1000 {
        let mut bytes = peer.read();
        let mut feed = decoder.feed(&mut bytes);
        while let Some(event) = feed.next().unwrap() {
            match event {
                Event::Text(text) => {
                    let message: Value = serde_json::from_str(text).unwrap();
                    numbers.extend(message["payload"]["data"]["number"].as_u64());
                }
                Event::Close(code) => close = code.map(|close| close.code),
                _ => {}
            }
        }

        if close.is_some() {
            break;
        }
        test.wait_for_sockets();
    }

    (numbers, close)
}

#[tokio::test(start_paused = true)]
async fn a_stop_sends_each_reader_the_rest_of_its_stream() {
    let (mut test, mut peer) = blocked_subscriber().await;
    test.shard.drain();
    test.run_until_idle().await;
    assert_eq!(test.gateway.hub.connection_count(), 0, "the connection is not released at once");

    let (numbers, close) = read_all(&mut test, &mut peer);
    assert_eq!(numbers, (0..COUNT).collect::<Vec<_>>());
    assert_eq!(close, Some(CloseCode::Draining.code()));
}

#[tokio::test(start_paused = true)]
async fn frames_lost_by_a_close_are_counted() {
    let (mut test, mut peer) = blocked_subscriber().await;
    let hub = test.gateway.hub.clone();
    let metrics = Arc::clone(&test.gateway.metrics);
    let dropped = || metrics.frames_dropped.get_or_create(&[("reason", "closed")]).get();
    assert_eq!(dropped(), 0);

    hub.disconnect(CloseCode::Disconnected, |_| true);
    test.run_until_idle().await;
    let missed = dropped();
    assert!(missed > 0, "the socket has taken all frames");

    let (numbers, close) = read_all(&mut test, &mut peer);
    assert_eq!(numbers.len() as u64 + missed, COUNT);
    assert_eq!(close, Some(CloseCode::Disconnected.code()));
}

#[tokio::test(start_paused = true)]
async fn a_blocked_reader_holds_at_most_one_cut_message() {
    let (mut test, _peer) = blocked_subscriber().await;
    let pending: usize =
        test.shard.connections.iter().map(|(_, it)| it.output.pending_bytes()).sum();
    assert!(pending > 0 && pending <= 4000, "{pending}");

    // After a close, the socket is cut at its deadline, and the cut is counted.
    let hub = test.gateway.hub.clone();
    hub.disconnect(CloseCode::Disconnected, |_| true);
    test.run_until_idle().await;

    assert_eq!(test.shard.connections.len(), 1, "the peer has no time to read its last messages");

    test.advance(Duration::from_secs(6)).await;
    assert!(test.shard.connections.is_empty());
    assert_eq!(test.gateway.metrics.sockets_cut.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_closed_before_a_stop_does_not_delay_it() {
    let (mut test, _peer) = blocked_subscriber().await;
    test.gateway.hub.disconnect(CloseCode::Disconnected, |_| true);
    test.run_until_idle().await;
    test.shard.drain();
    test.advance(Duration::from_millis(3500)).await;

    assert!(test.shard.connections.is_empty());
}

#[tokio::test(start_paused = true)]
async fn unread_replies_that_accumulate_slowly_close_the_connection() {
    let (mut test, mut peer) = blocked_subscriber().await;

    // The first replies are queued behind the full socket. The outbox does not notify the shard of
    // the later ones.
    for count in [10, 1000] {
        for _ in 0..count {
            peer.request("ping", &json!({}));
        }
        for _ in 0..20 {
            peer.flush();
            test.wait_for_sockets();
        }
    }

    assert_eq!(test.gateway.hub.connection_count(), 1);

    let timeout = test.gateway.config.reply_timeout;
    test.advance(timeout + Duration::from_secs(1)).await;
    assert_eq!(test.gateway.hub.connection_count(), 0);

    let closed = &test.gateway.metrics.closed;
    assert_eq!(closed.get_or_create(&[("code", CloseCode::TooSlow.code())]).get(), 1);
}
