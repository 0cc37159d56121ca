//! Peers that are silent, and tokens that end.

use rejoin_core::{Form, Item, SlowReader};
use tokio::{
    io::AsyncWriteExt,
    time::{Duration, Instant},
};

use super::{Bench, DAY, HEARTBEAT, Heard, publish, settle, stream};

/// Alarms ring at whole seconds, and rounding is never early.
const TICK: Duration = Duration::from_secs(1);

fn within(since: Instant, expected: Duration) {
    let took = since.elapsed();
    assert!(took >= expected && took <= expected + TICK, "{took:?} instead of {expected:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_asked_once_and_then_let_go() {
    let bench = Bench::new(1);
    let mut far = bench.connect(Form::Plain);
    far.outbox.push(Item::Attend(far.connection(None)));
    let begun = Instant::now();
    assert_eq!(far.next().await, Heard::Ping);
    within(begun, HEARTBEAT);
    let Heard::Text(closing) = far.next().await else { panic!("no word") };
    assert_eq!(closing["payload"]["code"], 4001);
    within(begun, 2 * HEARTBEAT);
    assert_eq!(far.rest().await, [Heard::Close(4001)]);
    assert_eq!((bench.metrics.pings_sent.get(), bench.metrics.heartbeats_missed.get()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_is_asked_at_each_heartbeat_and_kept() {
    let bench = Bench::new(1);
    let mut far = bench.connect(Form::Raw);
    let connection = far.connection(None);
    far.outbox.push(Item::Attend(connection.clone()));
    for _ in 0..100 {
        let begun = Instant::now();
        assert_eq!(far.next().await, Heard::Ping);
        within(begun, HEARTBEAT - TICK);
        connection.hear();
    }
    assert_eq!(bench.metrics.heartbeats_missed.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_speaks_is_not_asked() {
    let bench = Bench::new(1);
    let mut far = bench.connect(Form::Plain);
    let connection = far.connection(None);
    far.outbox.push(Item::Attend(connection.clone()));
    for _ in 0..10 {
        tokio::time::sleep(HEARTBEAT - TICK).await;
        connection.hear();
    }
    assert_eq!(bench.metrics.pings_sent.get(), 0);
    let begun = Instant::now();
    assert_eq!(far.next().await, Heard::Ping);
    within(begun, HEARTBEAT);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_has_spoken_while_nobody_listened_is_kept() {
    let bench = Bench::new(1);
    let mut far = bench.connect(Form::Plain);
    far.outbox.push(Item::Attend(far.connection(None)));
    far.socket.write_all(b"a message that a busy server has not read yet").await.unwrap();
    tokio::time::sleep(10 * HEARTBEAT).await;
    assert_eq!(bench.metrics.heartbeats_missed.get(), 0);
    assert!(!far.outbox.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_that_takes_nothing_is_not_asked_and_let_go() {
    let bench = Bench::new(1);
    let stream = stream(100, SlowReader::CatchUp);
    let far = bench.connect(Form::Plain);
    far.outbox.push(Item::Attend(far.connection(None)));
    far.reads(&stream, 0);
    (0..50).for_each(|number| publish(&stream, number, 1000));
    settle().await;
    let begun = Instant::now();
    while bench.metrics.heartbeats_missed.get() == 0 {
        tokio::time::sleep(TICK).await;
    }
    assert!(begun.elapsed() <= 2 * HEARTBEAT + 2 * TICK);
    assert_eq!(bench.metrics.pings_sent.get(), 0);
    // What was for it is dropped when it has had its time.
    while bench.dropped("closed") == 0 {
        tokio::time::sleep(TICK).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_announced_once_before_its_end_and_closes_at_it() {
    let bench = Bench::new(1);
    let mut far = bench.connect(Form::Plain);
    let begun = Instant::now();
    // Long enough that heartbeats come in between.
    let connection = far.connection(Some(DAY + 200_000));
    far.outbox.push(Item::Attend(connection.clone()));
    let (mut expiring, mut pings) = (0, 0);
    let error = loop {
        match far.next().await {
            Heard::Ping => {
                pings += 1;
                connection.hear();
            }
            Heard::Text(text) if text["type"] == "token_expiring" => {
                assert_eq!(text["payload"]["expires_at"], DAY + 200_000);
                within(begun, Duration::from_secs(140));
                expiring += 1;
            }
            Heard::Text(text) => break text,
            heard => panic!("{heard:?}"),
        }
    };
    assert_eq!((expiring, error["payload"]["code"].as_str()), (1, Some("token_expired")));
    within(begun, Duration::from_secs(200));
    assert!(pings >= 5);
    assert!(far.rest().await.contains(&Heard::Close(4502)));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_replaced_ends_at_its_own_time() {
    let bench = Bench::new(1);
    let mut far = bench.connect(Form::Plain);
    let begun = Instant::now();
    for (expires, announced) in [(100, 40), (400, 340), (350, 340), (360, 340)] {
        let connection = far.connection(Some(DAY + expires * 1000));
        far.outbox.push(Item::Attend(connection.clone()));
        loop {
            match far.next().await {
                Heard::Ping => connection.hear(),
                Heard::Text(text) => {
                    assert_eq!(text["payload"]["expires_at"], DAY + expires * 1000);
                    break;
                }
                heard => panic!("{heard:?}"),
            }
        }
        within(begun, Duration::from_secs(announced));
    }
    while far.next().await != Heard::Close(4502) {}
    within(begun, Duration::from_secs(360));
}
