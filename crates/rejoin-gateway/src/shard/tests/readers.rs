//! Readers of a connection whose socket is full: they hold nothing, and what they miss is counted.

use std::time::Duration;

use futures_util::FutureExt;
use rejoin_core::{Caps, Identity};
use rejoin_protocol::{CloseCode, TopicName, UserId};
use rejoin_websocket::{Decoder, Event, Side};
use serde_json::{Value, json, value::to_raw_value};

use super::{Peer, Stage};

const COUNT: u64 = 40;

/// A subscriber that has not read any of [`COUNT`] messages of 3 kB: more than its sockets hold.
async fn blocked() -> (Stage, Peer) {
    let mut stage = Stage::new(|_| {});
    let mut peer = stage.connect("ann");
    peer.ask("subscribe", &json!({ "topic": "all" }));
    stage.settle().await;
    let publisher = Identity::new(UserId::new("bob").unwrap(), Caps::user());
    let topic = TopicName::new("all").unwrap();
    for number in 0..COUNT {
        let data = to_raw_value(&json!({ "number": number, "pad": "x".repeat(3000) })).unwrap();
        let published = stage.gateway.hub.publish(&topic, &publisher, &data, None);
        published.now_or_never().unwrap().unwrap();
        stage.settle().await;
    }
    (stage, peer)
}

/// Reads until the close frame; returns the numbers of the messages, and the close code.
fn read_all(stage: &mut Stage, peer: &mut Peer) -> (Vec<u64>, Option<u16>) {
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
        stage.wait_for_sockets();
    }
    (numbers, close)
}

#[tokio::test(start_paused = true)]
async fn a_stop_gives_each_reader_what_its_stream_held() {
    let (mut stage, mut peer) = blocked().await;
    stage.shard.drain();
    stage.settle().await;
    assert_eq!(stage.gateway.hub.connection_count(), 0, "it is released at once");
    let (numbers, close) = read_all(&mut stage, &mut peer);
    assert_eq!(numbers, (0..COUNT).collect::<Vec<_>>());
    assert_eq!(close, Some(CloseCode::Draining.code()));
}

#[tokio::test(start_paused = true)]
async fn frames_that_a_closed_connection_misses_are_counted_at_the_close() {
    let (mut stage, mut peer) = blocked().await;
    let hub = stage.gateway.hub.clone();
    let dropped = || hub.metrics().frames_dropped.get_or_create(&[("reason", "closed")]).get();
    assert_eq!(dropped(), 0);
    hub.disconnect(CloseCode::Disconnected, |_| true);
    stage.settle().await;
    let missed = dropped();
    assert!(missed > 0, "its socket holds all");
    let (numbers, close) = read_all(&mut stage, &mut peer);
    assert_eq!(numbers.len() as u64 + missed, COUNT);
    assert_eq!(close, Some(CloseCode::Disconnected.code()));
}

#[tokio::test(start_paused = true)]
async fn a_blocked_reader_holds_one_cut_message_at_most() {
    let (mut stage, _peer) = blocked().await;
    let pending: usize =
        stage.shard.connections.iter().map(|(_, it)| it.output.pending_bytes()).sum();
    assert!(pending > 0 && pending <= 4000, "{pending}");
    // It is cut at its deadline after the close, and counted.
    let hub = stage.gateway.hub.clone();
    hub.disconnect(CloseCode::Disconnected, |_| true);
    stage.settle().await;
    assert_eq!(stage.shard.connections.len(), 1, "it has time to take its last messages");
    stage.advance(Duration::from_secs(6)).await;
    assert!(stage.shard.connections.is_empty());
    assert_eq!(hub.metrics().sockets_cut.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_closed_before_a_stop_does_not_delay_it() {
    let (mut stage, _peer) = blocked().await;
    stage.gateway.hub.disconnect(CloseCode::Disconnected, |_| true);
    stage.settle().await;
    stage.shard.drain();
    stage.advance(Duration::from_millis(3500)).await;
    assert!(stage.shard.connections.is_empty());
}

#[tokio::test(start_paused = true)]
async fn replies_that_pile_up_slowly_close_a_connection_that_reads_nothing() {
    let (mut stage, mut peer) = blocked().await;
    // The first replies wait behind the full socket. Later ones are no news to the shard.
    for count in [10, 1000] {
        for _ in 0..count {
            peer.ask("ping", &json!({}));
        }
        for _ in 0..20 {
            peer.flush();
            stage.wait_for_sockets();
        }
    }
    assert_eq!(stage.gateway.hub.connection_count(), 1);
    let timeout = stage.gateway.config.reply_timeout;
    stage.advance(timeout + Duration::from_secs(1)).await;
    assert_eq!(stage.gateway.hub.connection_count(), 0);
    let closed = &stage.gateway.hub.metrics().closed;
    assert_eq!(closed.get_or_create(&[("code", CloseCode::TooSlow.code())]).get(), 1);
}
