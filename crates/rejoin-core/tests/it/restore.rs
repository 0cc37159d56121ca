//! The restore of a saved hub, and the order in which layers stop.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use rejoin_core::{
    Hub, HubConfig, MemoryScreens, MemoryTerminals, OutboxItem, SavedHub, Shutdown, TopicRight,
};
use rejoin_protocol::{
    DeviceId, ErrorCode, Position, RequestKey, TopicName, UserId, Verdict,
    message::{ImplicitPositions, ImplicitStreamStarts, MessageBody},
};
use serde_json::value::RawValue;

use crate::support::{connection, encode, identity};

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

fn config() -> HubConfig {
    HubConfig::new(encode, MemoryTerminals::new(), Arc::new(MemoryScreens))
}

/// Restores a hub in another process, `away` later. The state passes through JSON.
fn next(hub: &Hub, away: Duration) -> Hub {
    let json = serde_json::to_string(&hub.save()).unwrap();
    let mut saved: SavedHub = serde_json::from_str(&json).unwrap();
    saved.at -= u64::try_from(away.as_millis()).unwrap();
    Hub::restored(config(), &Shutdown::new(), Some(saved))
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
    let hub = Hub::new(config(), &Shutdown::new());
    let (ann, news) = (identity("ann"), TopicName::new("news").unwrap());
    let key = RequestKey::new("k").unwrap();
    let first = hub.publish(&news, &ann, &raw("1"), None).await.unwrap();
    let second = hub.publish(&news, &ann, &raw("2"), Some(&key)).await.unwrap();
    let user = UserId::new("ann").unwrap();
    let event = raw("3");
    let event = MessageBody { name: None, data: &event };
    let emitted = hub.emit_to_user(&user, event).await.unwrap();
    let broadcast = hub.broadcast(event).await.unwrap();

    let hub = next(&hub, Duration::ZERO);

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
    let hub = Hub::new(config(), &Shutdown::new());
    let (ann, news) = (identity("ann"), TopicName::new("news").unwrap());
    let (user, device) = (UserId::new("ann").unwrap(), DeviceId::new("d").unwrap());
    let (key, data) = (RequestKey::new("k").unwrap(), raw("1"));
    let event = MessageBody { name: None, data: &data };
    let first = hub.publish(&news, &ann, &data, None).await.unwrap();

    let after = next(&hub, Duration::ZERO);
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
    let hub = Hub::new(config(), &Shutdown::new());
    let (ann, news) = (identity("ann"), TopicName::new("news").unwrap());
    let stream = hub.topic(&news, &ann, TopicRight::Subscribe).unwrap();
    let before = stream.stream().head();
    hub.publish(&news, &ann, &raw("1"), None).await.unwrap();
    let topic = next(&hub, Duration::from_secs(299));
    let topic = topic.topic(&news, &ann, TopicRight::Subscribe).unwrap();

    assert_eq!(topic.stream().start_now(Some(before)).verdict, Verdict::Resumed);

    let topic = next(&hub, Duration::from_secs(301));
    let topic = topic.topic(&news, &ann, TopicRight::Subscribe).unwrap();
    let start = topic.stream().start_now(Some(before));

    assert_eq!((start.verdict, start.missed), (Verdict::Gap, Some(1)));
}

#[tokio::test]
async fn a_position_before_any_event_survives_a_restart() {
    let hub = Hub::new(config(), &Shutdown::new());
    let (received, _) = streams(&hub, &ImplicitPositions::default());
    let before =
        ImplicitPositions { user: Some(received.user.position), ..ImplicitPositions::default() };
    let soon = next(&hub, Duration::from_secs(60));

    assert_eq!(streams(&soon, &before).0.user.verdict, Verdict::Resumed);

    let late = next(&hub, Duration::from_secs(7200));

    assert_eq!(streams(&late, &before).0.user.verdict, Verdict::Resumed, "nothing was emitted");

    let hub = next(&hub, Duration::ZERO);
    let data = raw("1");
    let (user, device) = (UserId::new("ann").unwrap(), DeviceId::new("d").unwrap());
    let event = MessageBody { name: None, data: &data };
    hub.emit_to_user(&user, event).await.unwrap();
    hub.emit_to_device(&user, &device, event).await.unwrap();
    let (received, reads) = streams(&next(&hub, Duration::from_secs(60)), &before);

    assert_eq!((received.user.verdict, received.user.replayed, reads), (Verdict::Resumed, 1, 2));

    let (received, _) = streams(&next(&hub, Duration::from_secs(7200)), &before);

    assert_eq!((received.user.verdict, received.user.missed), (Verdict::Gap, Some(1)));
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
