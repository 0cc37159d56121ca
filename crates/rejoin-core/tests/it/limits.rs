//! The limits of a user, also under concurrent requests.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use futures_util::future::join_all;
use rejoin_core::{
    CreateTerminal, Hub, Journal, JournalMessage, JournalRecord, MemoryJournal, Reader, Retention,
    StreamOwner, TopicRight, TopicRule,
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

fn create(hub: &Hub, user: &str, number: usize) -> Result<(), ErrorCode> {
    let topic = hub.topic(&topic(number), &identity(user), TopicRight::Publish);
    topic.map(drop).map_err(|error| error.code)
}

/// Returns the messages in a journal.
async fn messages(journal: &MemoryJournal) -> Vec<JournalMessage> {
    let records = journal.load().await.unwrap();
    let message = |record| match record {
        JournalRecord::Message(message) => Some(message),
        _ => None,
    };
    records.into_iter().filter_map(message).collect()
}

#[tokio::test(start_paused = true)]
async fn topics_of_one_user_stop_at_the_users_limit() {
    let (hub, _programs, _shutdown) = hub();
    let results = (0..100_000).map(|number| create(&hub, "ann", number));
    let refused = results.filter(|result| *result == Err(ErrorCode::TooManyTopics)).count();
    assert_eq!((hub.topic_count(), refused), (10_000, 90_000));
    assert!(create(&hub, "bob", 100_000).is_ok());
    assert!(create(&hub, "ann", 0).is_ok(), "an existing topic may be used");
    assert!(hub.metrics().text().contains(r#"rate_limited_total{what="topics"} 90000"#));

    // Unused topics are dropped and may be created again.
    sleep(Duration::from_secs(2 * 3600)).await;
    assert_eq!(hub.topic_count(), 0);
    (0..10_000).for_each(|number| create(&hub, "ann", number).unwrap());
    assert!(create(&hub, "ann", 10_000).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_topic_in_use_is_not_dropped() {
    let (hub, _programs, _shutdown) = hub();
    let (_, subscription) = hub.subscribe(&connection("ann"), &topic(1), None).unwrap();
    let handle = hub.topic(&topic(2), &identity("ann"), TopicRight::Publish).unwrap();
    create(&hub, "ann", 3).unwrap();
    sleep(Duration::from_secs(2 * 3600)).await;

    assert_eq!(hub.topic_count(), 2);
    drop((subscription, handle));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(hub.topic_count(), 0);
}

#[tokio::test]
async fn topics_of_one_user_share_a_retention_budget() {
    const LIMIT: u64 = 100_000;
    let bytes = NonZeroUsize::new(1024 * 1024).unwrap();
    let retention = Retention { bytes, ..Retention::default() };
    let (hub, _programs, _shutdown) = hub_with(|config| {
        config.limits.retained_bytes_per_user = LIMIT;
        config.topics = vec![TopicRule {
            pattern: "*".into(),
            retention,
            slow_reader: rejoin_core::SlowReaderPolicy::CatchUp,
            ..TopicRule::default()
        }];
    });

    let data = RawValue::from_string(format!("\"{}\"", "x".repeat(900))).unwrap();
    let mut first = None;
    for round in 0..30 {
        for number in 0..10 {
            let position =
                hub.publish(&topic(number), &identity("ann"), &data, None).await.unwrap();
            first.get_or_insert(position);
            // Messages of others count towards the creator of the topic.
            hub.publish(&topic(number), &identity("bob"), &data, None).await.unwrap();
        }
        hub.publish(&topic(99), &identity("bob"), &data, None).await.unwrap();
        let retained = |number| {
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
        let held: u64 = (0..10).map(|number| retained(number).0).sum();
        assert!(held <= LIMIT, "{held}");
        assert!(round < 10 || held > LIMIT / 2, "{held}");
        assert_eq!(retained(99).1, Some(0), "bob's topic is not in ann's budget");
    }

    let stream = hub.topic(&topic(0), &identity("ann"), TopicRight::Subscribe).unwrap();
    let start = stream.stream().start_now(first);

    assert_eq!(start.reason, Some("retention"), "the gap is reported");
}

#[tokio::test]
async fn idle_streams_make_room_for_new_messages() {
    const LIMIT: u64 = 100_000;
    let journal = Arc::<MemoryJournal>::default();
    let (hub, _programs, _shutdown) = hub_with(|config| {
        config.limits.retained_bytes_per_user = LIMIT;
        config.journal = Arc::clone(&journal) as Arc<dyn Journal>;
    });
    let (ann, bob) = (identity("ann"), identity("bob"));
    let data = RawValue::from_string(format!("\"{}\"", "x".repeat(900))).unwrap();
    let event = MessageBody { name: None, data: &data };
    hub.publish(&topic(0), &bob, &data, None).await.unwrap();

    // With one message each, no stream can drop older ones of its own.
    for number in 1..=400 {
        hub.publish(&topic(number), &ann, &data, None).await.unwrap();
    }

    for number in 0..200 {
        let device = DeviceId::new(&format!("device-{number}")).unwrap();
        hub.emit_to_device(&ann.user, &device, event).await.unwrap();
    }

    hub.save().await.unwrap();
    let messages = messages(&journal).await;
    let is_of_bob = |message: &&JournalMessage| match &message.stream {
        StreamOwner::Topic { creator, .. } => *creator == bob.user,
        _ => false,
    };
    let of_ann = messages.iter().filter(|message| !is_of_bob(message));
    let bytes: usize = of_ann.map(|message| message.text.len()).sum();

    assert!(bytes as u64 <= LIMIT, "{bytes}");
    assert!(bytes as u64 > LIMIT * 3 / 4, "{bytes}");
    assert_eq!(messages.iter().filter(is_of_bob).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn random_devices_evict_streams_of_the_same_user_only() {
    let journal = Arc::<MemoryJournal>::default();
    let (hub, _programs, _shutdown) =
        hub_with(|config| config.journal = Arc::clone(&journal) as Arc<dyn Journal>);
    let (ann, bob) = (identity("ann").user, identity("bob").user);
    let data = RawValue::from_string("1".to_owned()).unwrap();
    let event = MessageBody { name: None, data: &data };
    let device = |number: usize| DeviceId::new(&format!("device-{number}")).unwrap();
    let start = |user: &str, device: &str, positions| {
        let connection = connection_from(user, Some(device));
        let mut received = None;
        drop(hub.register(connection, &positions, |streams| received = Some(streams)));
        received.unwrap().device.unwrap()
    };

    let before =
        |start: StreamStart| ImplicitPositions { device: Some(start.position), ..<_>::default() };
    let of_ann = before(start("ann", "device-0", ImplicitPositions::default()));
    let of_bob = before(start("bob", "phone", ImplicitPositions::default()));
    sleep(Duration::from_secs(2)).await;
    hub.emit_to_device(&ann, &device(0), event).await.unwrap();
    let kept = hub.emit_to_device(&bob, &device(0), event).await.unwrap();

    // A burst, then 256 per second: two lives of a stream must not share an epoch.
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

    // Ann's device learns of its gap. Bob's devices are not affected.
    assert_eq!(start("ann", "device-0", of_ann).verdict, Verdict::Gap);
    assert_eq!(start("bob", "phone", of_bob).verdict, Verdict::Resumed);

    let of_bob = ImplicitPositions { device: Some(kept), ..ImplicitPositions::default() };

    assert_eq!(start("bob", "device-0", of_bob).verdict, Verdict::Resumed);

    hub.save().await.unwrap();
    let heads = journal.load().await.unwrap();
    let is_head = |record: &&JournalRecord| matches!(record, JournalRecord::Head { .. });
    assert_eq!(heads.iter().filter(is_head).count(), 1 + 256 + 1);
}

#[tokio::test]
async fn concurrent_creates_stop_exactly_at_the_session_limit() {
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
        // A session counts until its program has ended.
        let program = programs.recv().await.unwrap();
        let id = program.launch.record.id.clone();
        drop(program);
        let ended = made.iter().find(|session| *session.id() == id).unwrap();
        hub.close_session(ended).await;
        assert!(create().await.is_ok());
        assert!(create().await.is_err());
    }
}

#[tokio::test]
async fn one_of_many_creates_with_one_id_succeeds() {
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
