//! Idempotency keys: a retry gets the first result and is not executed again.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use rejoin_core::{Batch, Hub, IdempotencyCache, TooManyKeys, TopicRight};
use rejoin_protocol::{ErrorCode, Position, RequestKey, TopicName, UserId};
use serde_json::value::RawValue;
use tokio::time::sleep;

use crate::support::{NoWake, hub, hub_with, identity, limit};

fn key(text: &str) -> RequestKey {
    RequestKey::new(text).unwrap()
}

async fn publish(hub: &Hub, user: &str, topic: &str, key: &RequestKey) -> Position {
    let topic = TopicName::new(topic).unwrap();
    let data = RawValue::from_string("1".to_owned()).unwrap();
    hub.publish(&topic, &identity(user), &data, Some(key)).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_retry_gets_the_same_position_for_five_minutes() {
    let (hub, _programs, _shutdown) = hub();
    let key = key("one");
    let first = publish(&hub, "ann", "news", &key).await;
    sleep(Duration::from_secs(299)).await;

    assert_eq!(publish(&hub, "ann", "news", &key).await, first);
    assert_eq!(hub.metrics().published.get(), 1);

    // Another user, topic or key is another publish.
    let others = [
        publish(&hub, "bob", "news", &key).await,
        publish(&hub, "ann", "other", &key).await,
        publish(&hub, "ann", "news", &RequestKey::new("two").unwrap()).await,
    ];

    assert!(others.iter().all(|other| *other != first));
    assert_eq!(hub.metrics().published.get(), 4);
    sleep(Duration::from_secs(1)).await;
    assert_ne!(publish(&hub, "ann", "news", &key).await, first);
    assert_eq!(hub.metrics().published.get(), 5);
}

#[tokio::test]
async fn concurrent_retries_publish_once() {
    for _ in 0..50 {
        let (hub, _programs, _shutdown) = hub();
        let key = key("one");
        let retries = (0..20).map(|_| publish(&hub, "ann", "news", &key));
        let positions = join_all(retries).await;
        assert!(positions.iter().all(|position| *position == positions[0]));
        assert_eq!(hub.metrics().published.get(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_of_a_cancelled_publish_is_executed() {
    // A follower that takes nothing blocks the producers of the topic.
    let two = std::num::NonZeroUsize::new(2).unwrap();
    let (hub, _programs, _shutdown) = hub_with(|config| {
        let retention = rejoin_core::Retention { frames: two, ..rejoin_core::Retention::default() };
        let rule = rejoin_core::TopicRule {
            pattern: "news".into(),
            retention,
            slow_reader: rejoin_core::SlowReaderPolicy::CatchUp,
            ..rejoin_core::TopicRule::default()
        };
        config.topics = vec![rule];
    });

    let news = TopicName::new("news").unwrap();
    let topic = hub.topic(&news, &identity("ann"), TopicRight::Subscribe).unwrap();
    let follower = topic.stream().follow(Arc::new(NoWake), 0);
    publish(&hub, "ann", "news", &key("before")).await;
    let key = key("one");
    let first = publish(&hub, "ann", "news", &key);

    assert!(tokio::time::timeout(Duration::from_secs(1), first).await.is_err());
    assert_eq!(hub.metrics().published.get(), 1);

    let retry = publish(&hub, "ann", "news", &key);
    let take = async { follower.take(0, limit(9), &mut Batch::default()) };
    let (position, _) = tokio::join!(retry, take);

    assert_eq!(hub.metrics().published.get(), 2);
    follower.take(1, limit(9), &mut Batch::default());
    assert_eq!(publish(&hub, "ann", "news", &key).await, position);
    assert_eq!(hub.metrics().published.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_keys_of_one_user_are_limited_for_five_minutes() {
    let cache = IdempotencyCache::<u32, u32>::default();
    let [ann, bob] = ["ann", "bob"].map(|name| UserId::new(name).unwrap());
    for key in 0..10_000 {
        cache.result(&ann, key).unwrap();
    }

    assert_eq!(cache.result(&ann, 10_000).unwrap_err(), TooManyKeys);
    assert!(cache.result(&ann, 0).is_ok(), "a retry needs no room");
    assert!(cache.result(&bob, 0).is_ok());
    sleep(Duration::from_secs(300)).await;
    cache.expire();
    for key in 20_000..30_000 {
        cache.result(&ann, key).unwrap();
    }

    assert_eq!(cache.result(&ann, 30_000).unwrap_err(), TooManyKeys);
}

#[tokio::test(start_paused = true)]
async fn the_largest_users_lose_their_oldest_keys_first() {
    let cache = IdempotencyCache::<u32, u32>::default();
    let user = |number: u32| UserId::new(&format!("user-{number}")).unwrap();
    let has_result = |user: &UserId, key| cache.result(user, key).unwrap().initialized();
    let eve = UserId::new("eve").unwrap();
    cache.result(&eve, 0).unwrap().set(0).unwrap();

    // 200,000 keys in total; the last one has 10,000 and removes a key of another user.
    for number in 0..20 {
        for key in 0..10_000 {
            cache.result(&user(number), key).unwrap().set(key).unwrap();
        }
    }
    assert!(cache.result(&eve, 1).unwrap().set(1).is_ok());

    assert!(has_result(&eve, 0) && has_result(&eve, 1));
    let evicted = (0..20).filter(|number| !has_result(&user(*number), 0)).count();
    assert!(evicted >= 2, "{evicted} users lost their oldest keys");
}

#[tokio::test(start_paused = true)]
async fn full_users_do_not_refuse_keys_to_others() {
    const MIB: usize = 1024 * 1024;
    let cache = IdempotencyCache::<u32, u32>::default();
    let insert = |user: &UserId, key, bytes| {
        let cell = cache.result(user, key).expect("room for a key");
        cache.charge(user, key, bytes);
        cell.set(key).unwrap();
    };

    // More users than fit with 16 MiB each; the first one uses less.
    let small = UserId::new("small").unwrap();
    insert(&small, 0, MIB);
    for number in 0..64 {
        let user = UserId::new(&format!("user-{number}")).unwrap();
        (0..16).for_each(|key| insert(&user, key, MIB));
    }

    insert(&small, 1, MIB);
    assert!(cache.result(&small, 0).unwrap().initialized());
    insert(&UserId::new("late").unwrap(), 0, MIB);
}

#[tokio::test(start_paused = true)]
async fn keys_of_unfinished_requests_are_never_evicted() {
    let cache = IdempotencyCache::<u32, u32>::default();
    for user in 0..20 {
        let user = UserId::new(&format!("user-{user}")).unwrap();
        (0..10_000).for_each(|key| drop(cache.result(&user, key).unwrap()));
    }

    let eve = UserId::new("eve").unwrap();

    assert_eq!(cache.result(&eve, 0).unwrap_err(), TooManyKeys);
    sleep(Duration::from_secs(300)).await;
    assert!(cache.result(&eve, 0).is_ok());
}

#[tokio::test(start_paused = true)]
async fn large_results_leave_room_for_fewer_keys() {
    const MIB: usize = 1024 * 1024;
    let cache = IdempotencyCache::<u32, u32>::default();
    let [ann, bob] = ["ann", "bob"].map(|name| UserId::new(name).unwrap());
    for key in 0..16 {
        cache.result(&ann, key).unwrap();
        cache.charge(&ann, key, MIB);
    }

    assert_eq!(cache.result(&ann, 16).unwrap_err(), TooManyKeys);
    assert!(cache.result(&ann, 0).is_ok(), "a retry needs no room");
    assert!(cache.result(&bob, 0).is_ok());
    sleep(Duration::from_secs(300)).await;
    assert!(cache.result(&ann, 16).is_ok());
}

#[tokio::test(start_paused = true)]
async fn old_keys_expire_without_further_requests() {
    let (hub, _programs, _shutdown) = hub();
    let held = Arc::new(());
    let cache = IdempotencyCache::<u32, Arc<()>>::default();
    let ann = UserId::new("ann").unwrap();
    cache.result(&ann, 1).unwrap().set(Arc::clone(&held)).unwrap();
    sleep(Duration::from_secs(300)).await;

    assert_eq!(Arc::strong_count(&held), 2);
    cache.expire();
    assert_eq!(Arc::strong_count(&held), 1);
    drop(hub);
}

#[tokio::test(start_paused = true)]
async fn too_many_keys_are_refused_as_rate_limited() {
    let (hub, _programs, _shutdown) = hub();
    for number in 0..10_000 {
        publish(&hub, "ann", "news", &key(&number.to_string())).await;
    }

    let news = TopicName::new("news").unwrap();
    let data = RawValue::from_string("1".to_owned()).unwrap();
    let key = key("more");
    let error = hub.publish(&news, &identity("ann"), &data, Some(&key)).await.unwrap_err();

    assert_eq!(error.code, ErrorCode::RateLimited);
    assert!(hub.publish(&news, &identity("ann"), &data, None).await.is_ok());
}
