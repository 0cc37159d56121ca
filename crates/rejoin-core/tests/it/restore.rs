//! The restore of a saved hub, and the order in which layers stop.

use std::{ops::Deref, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rejoin_core::{
    Durability, Hub, HubConfig, Journal, JournalMessage, JournalRecord, MemoryJournal,
    MemoryScreens, MemoryTerminals, OutboxItem, Shutdown, TopicRight,
};
use rejoin_protocol::{
    DeviceId, ErrorCode, Position, RequestKey, TopicName, UserId, Verdict,
    message::{ImplicitPositions, ImplicitStreamStarts, MessageBody},
};
use serde_json::value::RawValue;

use crate::support::{connection, encode, identity, move_time};

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

/// A hub and the journal that it writes.
struct Process {
    hub: Hub,
    journal: Arc<MemoryJournal>,
}

impl Process {
    async fn first() -> Self {
        Self::start(Arc::default(), Durability::Memory).await
    }

    async fn with_durable_emits() -> Self {
        Self::start(Arc::default(), Durability::Journal).await
    }

    async fn start(journal: Arc<MemoryJournal>, emit_durability: Durability) -> Self {
        let config = HubConfig {
            journal: Arc::clone(&journal) as Arc<dyn Journal>,
            emit_durability,
            ..HubConfig::new(encode, MemoryTerminals::new(), Arc::new(MemoryScreens))
        };
        let hub = Hub::new(config, &Shutdown::new());
        hub.recover(Duration::from_secs(10)).await.unwrap();
        Self { hub, journal }
    }

    /// Saves the hub, and starts the next process `away` later.
    async fn next(&self, away: Duration) -> Self {
        self.hub.save().await.unwrap();
        self.crash(away, Durability::Memory).await
    }

    /// Starts a process `away` later, from what the journal has now.
    async fn crash(&self, away: Duration, emit_durability: Durability) -> Self {
        let away = i64::try_from(away.as_millis()).unwrap();
        let mut records = self.journal.load().await.unwrap();
        records.iter_mut().for_each(|record| move_time(record, -away));

        // A journal of its own, because a test may start several processes from one.
        let journal = Arc::<MemoryJournal>::default();
        journal.append(&records).await.unwrap();
        Self::start(journal, emit_durability).await
    }
}

impl Deref for Process {
    type Target = Hub;

    fn deref(&self) -> &Hub {
        &self.hub
    }
}

fn streams(hub: &Hub, positions: &ImplicitPositions) -> (ImplicitStreamStarts, usize) {
    let ann = connection("ann");
    let received = Mutex::new(None);
    let _registration =
        hub.register(ann.clone(), positions, |streams| *received.lock() = Some(streams));
    let mut reads = 0;
    for item in ann.outbox().take() {
        reads += usize::from(matches!(item, OutboxItem::StartReading { .. }));
    }

    (received.into_inner().expect("a registration calls `welcome`"), reads)
}

#[tokio::test]
async fn positions_messages_and_keys_survive_a_restart() {
    let hub = Process::first().await;
    let (ann, news) = (identity("ann"), TopicName::new("news").unwrap());
    let key = RequestKey::new("k").unwrap();
    let first = hub.publish(&news, &ann, &raw("1"), None).await.unwrap();
    let second = hub.publish(&news, &ann, &raw("2"), Some(&key)).await.unwrap();
    let user = UserId::new("ann").unwrap();
    let event = raw("3");
    let event = MessageBody { name: None, data: &event };
    let emitted = hub.emit_to_user(&user, event).await.unwrap();
    let broadcast = hub.broadcast(event).await.unwrap();

    let hub = hub.next(Duration::ZERO).await;

    assert_eq!(hub.publish(&news, &ann, &raw("2"), Some(&key)).await.unwrap(), second);

    let topic = hub.topic(&news, &ann, TopicRight::Subscribe).unwrap();
    let start = topic.stream().start_now(Some(first));

    assert_eq!((start.verdict, start.replayed), (Verdict::Resumed, 1));

    let third = hub.publish(&news, &ann, &raw("3"), None).await.unwrap();

    assert_eq!(third, Position { offset: second.offset + 1, ..second });

    let positions = ImplicitPositions { all: Some(broadcast), user: Some(emitted), device: None };
    let (received, reads) = streams(&hub, &positions);

    assert_eq!((received.all.verdict, received.all.replayed), (Verdict::Resumed, 0));
    assert_eq!((received.user.verdict, received.user.replayed), (Verdict::Resumed, 0));
    assert_eq!(reads, 2);
}

#[tokio::test]
async fn appends_after_the_save_are_refused_and_retryable() {
    let hub = Process::first().await;
    let (ann, news) = (identity("ann"), TopicName::new("news").unwrap());
    let (user, device) = (UserId::new("ann").unwrap(), DeviceId::new("d").unwrap());
    let (key, data) = (RequestKey::new("k").unwrap(), raw("1"));
    let event = MessageBody { name: None, data: &data };
    let first = hub.publish(&news, &ann, &data, None).await.unwrap();

    let after = hub.next(Duration::ZERO).await;
    let refused = [
        hub.publish(&news, &ann, &data, Some(&key)).await,
        hub.publish(&TopicName::new("new").unwrap(), &ann, &data, None).await,
        hub.emit_to_user(&user, event).await,
        hub.emit_to_device(&user, &device, event).await,
        hub.broadcast(event).await,
    ];
    for result in refused {
        let error = result.unwrap_err();
        assert!(error.code == ErrorCode::Overloaded && error.retryable, "{error:?}");
    }

    let retried = after.publish(&news, &ann, &data, Some(&key)).await.unwrap();

    assert_eq!(retried, Position { offset: first.offset + 1, ..first });
}

#[tokio::test]
async fn messages_that_expire_between_two_processes_are_a_gap() {
    let hub = Process::first().await;
    let (ann, news) = (identity("ann"), TopicName::new("news").unwrap());
    let stream = hub.topic(&news, &ann, TopicRight::Subscribe).unwrap();
    let before = stream.stream().head();
    hub.publish(&news, &ann, &raw("1"), None).await.unwrap();
    let topic = hub.next(Duration::from_secs(299)).await;
    let topic = topic.topic(&news, &ann, TopicRight::Subscribe).unwrap();

    assert_eq!(topic.stream().start_now(Some(before)).verdict, Verdict::Resumed);
    let (messages, quiet) = topic.stream().retained();
    assert!(messages == 1 && quiet >= Duration::from_secs(299), "{quiet:?}");

    let topic = hub.next(Duration::from_secs(301)).await;
    let topic = topic.topic(&news, &ann, TopicRight::Subscribe).unwrap();
    let start = topic.stream().start_now(Some(before));

    assert_eq!((start.verdict, start.missed), (Verdict::Gap, Some(1)));
}

#[tokio::test]
async fn a_position_before_any_event_survives_a_restart() {
    let hub = Process::first().await;
    let (received, _) = streams(&hub, &ImplicitPositions::default());
    let before =
        ImplicitPositions { user: Some(received.user.position), ..ImplicitPositions::default() };
    let soon = hub.next(Duration::from_secs(60)).await;

    assert_eq!(streams(&soon, &before).0.user.verdict, Verdict::Resumed);

    let late = hub.next(Duration::from_secs(7200)).await;

    assert_eq!(streams(&late, &before).0.user.verdict, Verdict::Resumed, "nothing was emitted");

    let hub = hub.next(Duration::ZERO).await;
    let data = raw("1");
    let (user, device) = (UserId::new("ann").unwrap(), DeviceId::new("d").unwrap());
    let event = MessageBody { name: None, data: &data };
    hub.emit_to_user(&user, event).await.unwrap();
    hub.emit_to_device(&user, &device, event).await.unwrap();
    let (received, reads) = streams(&*hub.next(Duration::from_secs(60)).await, &before);

    assert_eq!((received.user.verdict, received.user.replayed, reads), (Verdict::Resumed, 1, 2));

    let (received, _) = streams(&*hub.next(Duration::from_secs(7200)).await, &before);

    assert_eq!((received.user.verdict, received.user.missed), (Verdict::Gap, Some(1)));
}

#[tokio::test]
async fn durable_emits_survive_a_crash() {
    let hub = Process::with_durable_emits().await;
    let (user, device) = (UserId::new("ann").unwrap(), DeviceId::new("d").unwrap());
    let data = raw("1");
    let event = MessageBody { name: None, data: &data };
    let (start, _) = streams(&hub, &ImplicitPositions::default());
    let before = ImplicitPositions {
        all: Some(start.all.position),
        user: Some(start.user.position),
        device: None,
    };

    hub.broadcast(event).await.unwrap();
    let first = hub.emit_to_user(&user, event).await.unwrap();
    hub.emit_to_device(&user, &device, event).await.unwrap();
    hub.emit_to_user(&user, event).await.unwrap();
    let after = ImplicitPositions { user: Some(first), ..before };

    let hub = hub.crash(Duration::from_secs(60), Durability::Journal).await;

    let (received, reads) = streams(&hub, &before);
    assert_eq!((received.all.verdict, received.all.replayed), (Verdict::Resumed, 1));
    assert_eq!((received.user.verdict, received.user.replayed), (Verdict::Resumed, 2));
    assert_eq!(reads, 2);

    let (received, _) = streams(&hub, &after);
    assert_eq!((received.user.verdict, received.user.replayed), (Verdict::Resumed, 1));

    // The positions go on.
    let third = hub.emit_to_user(&user, event).await.unwrap();
    assert_eq!(third, Position { offset: 3, ..first });
}

#[tokio::test]
async fn a_position_before_any_event_survives_a_crash() {
    let hub = Process::with_durable_emits().await;
    let (received, _) = streams(&hub, &ImplicitPositions::default());
    let before =
        ImplicitPositions { user: Some(received.user.position), ..ImplicitPositions::default() };

    let hub = hub.crash(Duration::from_secs(60), Durability::Journal).await;
    assert_eq!(streams(&hub, &before).0.user.verdict, Verdict::Resumed);

    let data = raw("1");
    let event = MessageBody { name: None, data: &data };
    hub.emit_to_user(&UserId::new("ann").unwrap(), event).await.unwrap();
    let hub = hub.crash(Duration::ZERO, Durability::Journal).await;
    let (received, _) = streams(&hub, &before);
    assert_eq!((received.user.verdict, received.user.replayed), (Verdict::Resumed, 1));

    // Nothing that such a crash loses is in the journal.
    let hub = hub.crash(Duration::ZERO, Durability::Memory).await;
    let hub = hub.crash(Duration::ZERO, Durability::Memory).await;
    assert_eq!(streams(&hub, &before).0.user.verdict, Verdict::Gap);
}

#[tokio::test]
async fn restarts_keep_each_key_once() {
    let mut hub = Process::first().await;
    let (ann, news) = (identity("ann"), TopicName::new("news").unwrap());
    let key = RequestKey::new("k").unwrap();
    let first = hub.publish(&news, &ann, &raw("1"), Some(&key)).await.unwrap();
    for _ in 0..5 {
        hub = hub.next(Duration::ZERO).await;
    }

    hub.save().await.unwrap();
    let records = hub.journal.load().await.unwrap();
    let is_key = |record: &&JournalRecord| matches!(record, JournalRecord::Key(_));
    assert!(records.iter().filter(is_key).count() <= 2, "{records:?}");

    let hub = hub.next(Duration::ZERO).await;
    assert_eq!(hub.publish(&news, &ann, &raw("1"), Some(&key)).await.unwrap(), first);
}

#[tokio::test]
async fn a_stream_created_again_before_a_crash_is_a_gap() {
    let hub = Process::with_durable_emits().await;
    let user = UserId::new("ann").unwrap();
    let (received, _) = streams(&hub, &ImplicitPositions::default());
    let before =
        ImplicitPositions { user: Some(received.user.position), ..ImplicitPositions::default() };
    let data = raw("1");
    let event = MessageBody { name: None, data: &data };
    let first = hub.emit_to_user(&user, event).await.unwrap();

    // The messages of an earlier life of the stream, which are not in memory any more.
    let mut records = hub.journal.load().await.unwrap();
    let is_message = |record: &JournalRecord| matches!(record, JournalRecord::Message(_));
    let Some(JournalRecord::Message(message)) = records.iter().find(|record| is_message(record))
    else {
        panic!("the emit is in the journal");
    };
    let again = Position { epoch: first.epoch + 9, offset: 1 };
    let again = JournalMessage { position: again, ..message.clone() };
    records.push(JournalRecord::Message(again.clone()));
    let journal = Arc::<MemoryJournal>::default();
    journal.append(&records).await.unwrap();

    let hub = Process::start(journal, Durability::Journal).await;

    assert_eq!(streams(&hub, &before).0.user.verdict, Verdict::Gap);
    let last = ImplicitPositions { user: Some(again.position), ..before };
    assert_eq!(streams(&hub, &last).0.user.verdict, Verdict::Resumed);
}

#[tokio::test]
async fn outer_layers_stop_before_inner_ones() {
    let core = Shutdown::new();
    let layer = core.layer("sockets");
    let order = Arc::new(Mutex::new(Vec::new()));
    for (name, group) in [("core", &core), ("sockets", &layer)] {
        let (order, of) = (Arc::clone(&order), group.clone());
        group.spawn(async move {
            of.begun().await;
            tokio::task::yield_now().await;
            order.lock().push(name);
        });
    }

    assert_eq!(core.finish(Duration::from_secs(5)).await, 0);
    assert_eq!(*order.lock(), ["sockets", "core"]);
}

#[tokio::test(start_paused = true)]
async fn running_tasks_of_all_layers_are_counted_at_the_deadline() {
    let core = Shutdown::new();
    let layer = core.layer("sockets");
    layer.spawn(std::future::pending::<()>());
    core.spawn(std::future::pending::<()>());
    assert_eq!(core.finish(Duration::from_secs(5)).await, 2);
    assert!(layer.has_begun());
}
