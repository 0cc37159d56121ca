//! The end of a server: all are told, nobody is cut who reads.

use std::{collections::BTreeSet, time::Duration};

use rejoin_core::{Form, SlowReader};

use super::{Bench, DRAIN_WINDOW, Heard, number, publish, settle, stream};

#[tokio::test]
async fn each_client_has_its_own_time_to_come_back_and_they_are_spread_evenly() {
    const COUNT: usize = 2000;
    let bench = Bench::new(2);
    let mut all: Vec<_> = (0..COUNT).map(|_| bench.connect(Form::Plain)).collect();
    settle().await;
    bench.shutdown.begin();
    let mut times = BTreeSet::new();
    for far in &mut all {
        let Heard::Text(closing) = far.next().await else { panic!("no word") };
        assert_eq!(closing["payload"]["code"], 4000);
        let window = closing["payload"]["window_ms"].as_u64().unwrap();
        assert_eq!(window, 5, "ten seconds for two thousand");
        times.insert(closing["payload"]["reconnect_after_ms"].as_u64().unwrap());
        far.outbox.abandon();
    }
    let expected = (0..COUNT as u64).map(|rank| rank * 5);
    assert!(times.into_iter().eq(expected), "one in each step, over all shards");
    assert_eq!(bench.shutdown.finish(DRAIN_WINDOW).await, 0);
    assert_eq!(bench.metrics.sockets_cut.get(), 0);
}

#[tokio::test]
async fn what_was_published_before_the_end_reaches_whoever_reads() {
    let bench = Bench::new(1);
    let stream = stream(1000, SlowReader::CatchUp);
    let mut slow = bench.connect(Form::Plain);
    slow.reads(&stream, 0);
    settle().await;
    (0..200).for_each(|at| publish(&stream, at, 1000));
    let mut fresh = bench.connect(Form::Plain);
    fresh.reads(&stream, 0);
    bench.shutdown.begin();
    for far in [&mut slow, &mut fresh] {
        for at in 0..200 {
            assert_eq!(far.next().await, number(at));
        }
        let Heard::Text(closing) = far.next().await else { panic!("no word") };
        assert_eq!(closing["payload"]["reason"], "draining");
        assert_eq!(far.rest().await, [Heard::Close(4000)]);
        far.outbox.abandon();
    }
    assert_eq!(bench.shutdown.finish(DRAIN_WINDOW).await, 0);
    assert_eq!(bench.metrics.sockets_cut.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_at_the_end_is_cut_and_counted() {
    let bench = Bench::new(1);
    let stream = stream(1000, SlowReader::CatchUp);
    let stuck = bench.connect(Form::Plain);
    stuck.reads(&stream, 0);
    (0..100).for_each(|at| publish(&stream, at, 1000));
    settle().await;
    assert_eq!(bench.shutdown.finish(Duration::from_secs(60)).await, 0);
    assert_eq!(bench.metrics.sockets_cut.get(), 1);
    let sent = bench.metrics.messages_sent.get();
    assert_eq!(bench.dropped("closed"), 100 - sent);
    drop(stuck);
}

#[tokio::test]
async fn who_arrives_after_the_end_is_turned_away() {
    let bench = Bench::new(1);
    bench.shutdown.begin();
    assert_eq!(bench.shutdown.finish(DRAIN_WINDOW).await, 0);
    let mut late = bench.connect(Form::Plain);
    assert!(late.outbox.is_closed());
    drop(late.read);
    let mut nothing = [0; 1];
    let count = tokio::io::AsyncReadExt::read(&mut late.socket, &mut nothing).await.unwrap();
    assert_eq!(count, 0);
}
