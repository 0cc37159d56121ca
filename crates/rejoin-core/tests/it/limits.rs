//! Limits of the hub: what one user may have, whatever is asked for at the same time.

use std::{num::NonZeroUsize, time::Duration};

use futures_util::future::join_all;
use rejoin_core::{
    CreateTerminal, Hub, Reader, Retention, SavedStream, TopicRight, TopicRule, Whose,
};
use rejoin_protocol::{
    DeviceId, ErrorCode, SessionId, TopicName, Verdict,
    message::{ImplicitPositions, MessageBody, StreamStart},
};
use serde_json::value::RawValue;
use tokio::time::sleep;

use crate::support::{connection, connection_from, hub, hub_with, identity, limit};

fn topic(number: usize) -> TopicName {
    TopicName::new(&format!("topic-{number}")).unwrap()
}

fn make(hub: &Hub, user: &str, number: usize) -> Result<(), ErrorCode> {
    let made = hub.topic(&topic(number), &identity(user), TopicRight::Publish);
    made.map(drop).map_err(|error| error.code)
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_topics_of_one_user_stop_at_the_users_limit_and_hurt_nobody() {
    let (hub, _programs, _shutdown) = hub();
    let results = (0..100_000).map(|number| make(&hub, "ann", number));
    let refused = results.filter(|result| *result == Err(ErrorCode::TooManyTopics)).count();
    assert_eq!((hub.topic_count(), refused), (10_000, 90_000));
    assert!(make(&hub, "bob", 100_000).is_ok());
    assert!(make(&hub, "ann", 0).is_ok(), "what is there may be used");
    assert!(hub.metrics().text().contains(r#"rate_limited_total{what="topics"} 90000"#));
    // What nobody uses is forgotten, and may be made again.
    sleep(Duration::from_secs(2 * 3600)).await;
    assert_eq!(hub.topic_count(), 0);
    (0..10_000).for_each(|number| make(&hub, "ann", number).unwrap());
    assert!(make(&hub, "ann", 10_000).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_somebody_uses_is_not_forgotten() {
    let (hub, _programs, _shutdown) = hub();
    let (_, subscription) = hub.subscribe(&connection("ann"), &topic(1), None).unwrap();
    let handle = hub.topic(&topic(2), &identity("ann"), TopicRight::Publish).unwrap();
    make(&hub, "ann", 3).unwrap();
    sleep(Duration::from_secs(2 * 3600)).await;
    assert_eq!(hub.topic_count(), 2);
    drop((subscription, handle));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(hub.topic_count(), 0);
}

#[tokio::test]
async fn all_topics_of_a_user_retain_no_more_together_than_the_user_may() {
    const LIMIT: u64 = 100_000;
    let bytes = NonZeroUsize::new(1024 * 1024).unwrap();
    let retention = Retention { bytes, ..Retention::default() };
    let (hub, _programs, _shutdown) = hub_with(|config| {
        config.limits.retained_bytes_per_user = LIMIT;
        config.topics = vec![TopicRule {
            pattern: "*".into(),
            retention,
            slow_reader: rejoin_core::SlowReader::CatchUp,
        }];
    });
    let data = RawValue::from_string(format!("\"{}\"", "x".repeat(900))).unwrap();
    let mut first = None;
    for round in 0..30 {
        for number in 0..10 {
            let position =
                hub.publish(&topic(number), &identity("ann"), &data, None).await.unwrap();
            first.get_or_insert(position);
            // What others publish to it counts for who made it.
            hub.publish(&topic(number), &identity("bob"), &data, None).await.unwrap();
        }
        hub.publish(&topic(99), &identity("bob"), &data, None).await.unwrap();
        let kept = |number| {
            let topic = hub.topic(&topic(number), &identity("ann"), TopicRight::Subscribe).unwrap();
            let mut batch = rejoin_core::Batch::default();
            let head = topic.stream().next().0;
            let oldest = (0..=head).find(|next| {
                let reader = Reader { next: *next };
                let progress = topic.stream().read(reader, limit(999), &mut batch);
                !matches!(progress, rejoin_core::Progress::Behind { .. })
            });
            (batch.frames.iter().map(|frame| frame.plain().len() as u64).sum::<u64>(), oldest)
        };
        let held: u64 = (0..10).map(|number| kept(number).0).sum();
        assert!(held <= LIMIT, "{held}");
        assert!(round < 10 || held > LIMIT / 2, "{held}");
        assert_eq!(kept(99).1, Some(0), "bob's own topic is not ann's");
    }
    let stream = hub.topic(&topic(0), &identity("ann"), TopicRight::Subscribe).unwrap();
    let start = stream.stream().start_now(first);
    assert_eq!(start.reason, Some("retention"), "a reader is told");
}

#[tokio::test]
async fn the_quietest_streams_of_a_user_make_room_for_the_newest_messages() {
    const LIMIT: u64 = 100_000;
    let (hub, _programs, _shutdown) =
        hub_with(|config| config.limits.retained_bytes_per_user = LIMIT);
    let (ann, bob) = (identity("ann"), identity("bob"));
    let data = RawValue::from_string(format!("\"{}\"", "x".repeat(900))).unwrap();
    let event = MessageBody { name: None, data: &data };
    hub.publish(&topic(0), &bob, &data, None).await.unwrap();
    // One message in each: no stream has anything to spare.
    for number in 1..=400 {
        hub.publish(&topic(number), &ann, &data, None).await.unwrap();
    }
    for number in 0..200 {
        let device = DeviceId::new(&format!("device-{number}")).unwrap();
        hub.emit_to_device(&ann.user, &device, event).await.unwrap();
    }
    let saved = hub.save();
    let held =
        |stream: &SavedStream| stream.frames.iter().map(|frame| frame.wire.len()).sum::<usize>();
    let of_bob = |stream: &&SavedStream| matches!(&stream.whose, Whose::Topic { maker, .. } if *maker == bob.user);
    let of_ann = |stream: &&SavedStream| !of_bob(stream);
    let bytes: usize = saved.streams.iter().filter(of_ann).map(held).sum();
    assert!(bytes as u64 <= LIMIT, "{bytes}");
    assert!(bytes as u64 > LIMIT * 3 / 4, "{bytes}");
    assert_eq!(saved.streams.iter().find(of_bob).unwrap().frames.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn random_devices_evict_streams_of_the_same_user_only_and_truthfully() {
    let (hub, _programs, _shutdown) = hub();
    let (ann, bob) = (identity("ann").user, identity("bob").user);
    let data = RawValue::from_string("1".to_owned()).unwrap();
    let event = MessageBody { name: None, data: &data };
    let device = |number: usize| DeviceId::new(&format!("device-{number}")).unwrap();
    let beginning = |user: &str, device: &str, positions| {
        let connection = connection_from(user, Some(device));
        let mut told = None;
        drop(hub.join(connection, &positions, |streams| told = Some(streams)));
        told.unwrap().device.unwrap()
    };
    let before =
        |start: StreamStart| ImplicitPositions { device: Some(start.position), ..<_>::default() };
    let of_ann = before(beginning("ann", "device-0", ImplicitPositions::default()));
    let of_bob = before(beginning("bob", "phone", ImplicitPositions::default()));
    sleep(Duration::from_secs(2)).await;
    hub.emit_to_device(&ann, &device(0), event).await.unwrap();
    let kept = hub.emit_to_device(&bob, &device(0), event).await.unwrap();

    // A burst, and then 256 a second: two lives of a stream must not have one epoch.
    let mut refused = 0;
    for number in 1..4000 {
        let result = hub.emit_to_device(&ann, &device(number), event).await;
        if let Err(error) = result {
            assert!(error.code == ErrorCode::Overloaded && error.retryable, "{error:?}");
            refused += 1;
        }
    }
    assert!((900..1500).contains(&refused), "{refused}");
    let first = hub.emit_to_device(&ann, &device(0), event).await;
    assert!(first.is_err());
    sleep(Duration::from_secs(1)).await;
    let first = hub.emit_to_device(&ann, &device(0), event).await.unwrap();
    for number in 5000..5300 {
        sleep(Duration::from_secs(1)).await;
        hub.emit_to_device(&ann, &device(number), event).await.unwrap();
    }
    sleep(Duration::from_secs(1)).await;
    let again = hub.emit_to_device(&ann, &device(0), event).await.unwrap();
    assert!(again.epoch > first.epoch && again.offset == 1, "{first:?}, {again:?}");
    assert_eq!(hub.save().streams.len(), 1 + 256 + 1);
    // Ann's device hears of what it missed; nobody else is affected.
    assert_eq!(beginning("ann", "device-0", of_ann).verdict, Verdict::Gap);
    assert_eq!(beginning("bob", "phone", of_bob).verdict, Verdict::Resumed);
    let of_bob = ImplicitPositions { device: Some(kept), ..ImplicitPositions::default() };
    assert_eq!(beginning("bob", "device-0", of_bob).verdict, Verdict::Resumed);
}

#[tokio::test]
async fn of_many_creates_at_the_same_time_so_many_succeed_as_a_user_may_have_sessions() {
    const LIMIT: usize = 3;
    for _ in 0..20 {
        let (hub, mut programs, _shutdown) =
            hub_with(|config| config.limits.sessions_per_user = LIMIT);
        let ann = identity("ann");
        let create = || hub.create_terminal(&ann, CreateTerminal::default());
        let results = join_all((0..40).map(|_| create())).await;
        let made: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
        assert_eq!((made.len(), hub.sessions(&ann).len()), (LIMIT, LIMIT));
        let refused = results.iter().filter_map(|result| result.as_ref().err());
        assert!(refused.map(|error| error.code).all(|code| code == ErrorCode::TooManySessions));
        assert!(hub.create_terminal(&identity("bob"), CreateTerminal::default()).await.is_ok());
        // The place is free when the program is gone.
        let program = programs.recv().await.unwrap();
        drop(program);
        hub.close_session(made[0]).await;
        assert!(create().await.is_ok());
        assert!(create().await.is_err());
    }
}

#[tokio::test]
async fn of_many_creates_with_one_id_one_succeeds() {
    let (hub, _programs, _shutdown) = hub();
    let ann = identity("ann");
    let create = || {
        let id = Some(SessionId::new("mine").unwrap());
        hub.create_terminal(&ann, CreateTerminal { id, ..CreateTerminal::default() })
    };
    let results = join_all((0..20).map(|_| create())).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let refused = results.iter().filter_map(|result| result.as_ref().err());
    assert!(refused.map(|error| error.code).all(|code| code == ErrorCode::SessionExists));
}
