//! Durable topics: stored before they are acknowledged, and there after a crash.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::FutureExt as _;
use proptest::prelude::*;
use rejoin_core::{
    BoxFuture, Confirm, Durability, Hub, HubConfig, Journal, JournalRecord, JournalRecords,
    MemoryJournal, MemoryScreens, MemoryTerminals, NewMessage, PublishProgress, Retention,
    Shutdown, StoreError, TopicRight, TopicRule,
};
use rejoin_protocol::{ErrorCode, Position, RequestKey, TopicName, message::ErrorBody};
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, mpsc};

use crate::support::{encode, frames, identity};

/// A journal that can be stopped, and whose appends can fail.
#[derive(Debug)]
struct TestJournal {
    journal: MemoryJournal,
    permits: Semaphore,
    fails: AtomicBool,
}

impl Default for TestJournal {
    fn default() -> Self {
        let permits = Semaphore::new(Semaphore::MAX_PERMITS);
        Self { journal: MemoryJournal::default(), permits, fails: AtomicBool::new(false) }
    }
}

impl TestJournal {
    fn stopped() -> Arc<Self> {
        Arc::new(Self { permits: Semaphore::new(0), ..Self::default() })
    }

    fn go_on(&self) {
        self.permits.add_permits(1000);
    }
}

impl Journal for TestJournal {
    fn load(&self) -> BoxFuture<'_, Result<Vec<JournalRecord>, StoreError>> {
        self.journal.load()
    }

    fn append<'a>(
        &'a self,
        records: &'a [JournalRecord],
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move {
            self.permits.acquire().await.expect("open").forget();
            if self.fails.load(Ordering::Relaxed) {
                return Err(StoreError("no space left".to_owned()));
            }
            self.journal.append(records).await
        })
    }

    fn replace(&self, records: JournalRecords) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.journal.replace(records)
    }
}

/// Starts a process whose topics that begin with `d` are durable.
async fn start(journal: &Arc<TestJournal>, retention: Retention) -> Hub {
    let durability = Durability::Journal;
    let rule = TopicRule { pattern: "d*".into(), retention, durability, ..TopicRule::default() };
    let config = HubConfig {
        topics: vec![rule],
        journal: Arc::clone(journal) as Arc<dyn Journal>,
        ..HubConfig::new(encode, MemoryTerminals::new(), Arc::new(MemoryScreens))
    };
    let hub = Hub::new(config, &Shutdown::new());
    hub.recover(std::time::Duration::from_secs(10)).await.expect("the journal is readable");
    hub
}

fn topic() -> TopicName {
    TopicName::new("d").unwrap()
}

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

async fn publish(hub: &Hub, data: &str, key: Option<&str>) -> Result<Position, ErrorBody> {
    let key = key.map(|key| RequestKey::new(key).unwrap());
    hub.publish(&topic(), &identity("ann"), &raw(data), key.as_ref()).await
}

/// Returns the head of the topic, and the data of its retained messages.
fn retained(hub: &Hub) -> (Position, Vec<String>) {
    let topic = hub.existing_topic(&topic(), &identity("ann"), TopicRight::Subscribe).unwrap();
    let topic = topic.expect("the topic exists");
    let mut batch = rejoin_core::Batch::default();
    let next = topic.stream().oldest();
    let limit = crate::support::limit(1_000_000);
    topic.stream().read(rejoin_core::Reader { next }, limit, &mut batch);
    let data = |payload: &[u8]| {
        let message: serde_json::Value = serde_json::from_slice(payload).unwrap();
        message["payload"]["data"].to_string()
    };
    let messages = batch.frames.iter().map(|frame| data(&frame.payload()));
    (topic.stream().head(), messages.collect())
}

#[tokio::test]
async fn a_durable_message_is_visible_once_it_is_stored() {
    let journal = TestJournal::stopped();
    let hub = start(&journal, frames(10)).await;
    let (mut first, mut second) =
        (Box::pin(publish(&hub, "1", None)), Box::pin(publish(&hub, "2", None)));
    assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
    tokio::task::yield_now().await;
    assert_eq!(retained(&hub).1, Vec::<String>::new());

    journal.go_on();
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!((first.offset, second.offset), (1, 2));
    assert_eq!(retained(&hub), (second, vec!["1".to_owned(), "2".to_owned()]));
}

#[tokio::test]
async fn messages_positions_and_keys_survive_a_crash() {
    let journal = Arc::<TestJournal>::default();
    let hub = start(&journal, frames(2)).await;
    let mut last = publish(&hub, "1", Some("k")).await.unwrap();
    let first = last;
    for data in ["2", "3", "4"] {
        last = publish(&hub, data, None).await.unwrap();
    }

    // Two more processes, which the second one's start has rewritten the journal for.
    for _ in 0..2 {
        let hub = start(&journal, frames(2)).await;
        assert_eq!(retained(&hub), (last, vec!["3".to_owned(), "4".to_owned()]));
        assert_eq!(publish(&hub, "1", Some("k")).await.unwrap(), first);
        assert_eq!(retained(&hub).0, last);
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_stored_is_refused() {
    let journal = Arc::<TestJournal>::default();
    let hub = start(&journal, frames(10)).await;
    publish(&hub, "1", None).await.unwrap();

    journal.fails.store(true, Ordering::Relaxed);
    let results =
        futures_util::future::join(publish(&hub, "2", Some("k")), publish(&hub, "3", None));
    let (second, third) = results.await;
    assert_eq!(second.unwrap_err().code, ErrorCode::Overloaded);
    assert_eq!(third.unwrap_err().code, ErrorCode::Overloaded);

    journal.fails.store(false, Ordering::Relaxed);
    assert_eq!(publish(&hub, "4", Some("k")).await.unwrap().offset, 2);
    assert_eq!(retained(&hub).1, ["1", "4"]);
    assert_eq!(retained(&start(&journal, frames(10)).await).1, ["1", "4"]);
}

#[tokio::test]
async fn a_slow_disk_has_room_for_every_user() {
    let journal = TestJournal::stopped();
    let hub = start(&journal, frames(10)).await;
    let large = raw(&format!("{:?}", "x".repeat(100_000)));
    let (stored_tx, mut stored) = mpsc::channel(1000);
    let try_publish = |user: &str, number: usize| {
        let topic = TopicName::new(&format!("d{user}{number}")).unwrap();
        let message = NewMessage { topic: &topic, data: &large, key: None };
        let (stored_tx, publisher) = (stored_tx.clone(), user.to_owned());
        let confirm = || Box::new(move |_| stored_tx.try_send(publisher).unwrap()) as Confirm;
        hub.try_publish(&message, &identity(user), confirm)
    };

    // Together, the messages of one user have no more than 8 MiB.
    let queued = (0..200).take_while(|number| try_publish("ann", *number).is_ok()).count();
    assert!((80..90).contains(&queued), "{queued}");
    let error = try_publish("ann", 200).unwrap_err();
    assert!(error.code == ErrorCode::Overloaded && error.retryable, "{error:?}");
    assert!(matches!(try_publish("bob", 0), Ok(PublishProgress::Queued)));

    // The last message is stored after all others.
    journal.go_on();
    while stored.recv().await.unwrap() != "bob" {}
    assert!(try_publish("ann", 200).is_ok());
}

#[tokio::test]
async fn a_cancelled_publish_with_a_key_is_stored_once() {
    let journal = TestJournal::stopped();
    let hub = start(&journal, frames(10)).await;
    assert!(publish(&hub, "1", Some("k")).now_or_never().is_none());
    // While the first is on its way to the disk, and after it arrived.
    let retry = publish(&hub, "1", Some("k"));
    journal.go_on();
    let position = retry.await.unwrap();
    assert_eq!(publish(&hub, "1", Some("k")).await.unwrap(), position);
    assert_eq!(retained(&hub).1, ["1"]);
}

#[tokio::test]
async fn a_journal_grows_with_what_is_retained_only() {
    let journal = Arc::<TestJournal>::default();
    let hub = start(&journal, frames(10)).await;
    let large = format!("{:?}", "x".repeat(100_000));
    for _ in 0..200 {
        publish(&hub, &large, None).await.unwrap();
    }
    let last = publish(&hub, "1", Some("k")).await.unwrap();

    let records = journal.load().await.unwrap();
    assert!(records.len() < 110, "{} records", records.len());
    let hub = start(&journal, frames(10)).await;
    assert_eq!((retained(&hub).0, retained(&hub).1.len()), (last, 10));
}

#[tokio::test]
async fn a_topic_that_is_no_longer_durable_leaves_the_journal() {
    let journal = Arc::<TestJournal>::default();
    let last = publish(&start(&journal, frames(10)).await, "1", None).await.unwrap();

    let config = HubConfig {
        journal: Arc::clone(&journal) as Arc<dyn Journal>,
        ..HubConfig::new(encode, MemoryTerminals::new(), Arc::new(MemoryScreens))
    };
    let hub = Hub::new(config, &Shutdown::new());
    hub.recover(std::time::Duration::from_secs(10)).await.unwrap();
    assert_eq!(retained(&hub).0, last);
    // Its later positions are in memory only, so a crash must not bring the former ones back.
    assert_eq!(journal.load().await.unwrap(), []);
}

/// An event in the life of a process.
#[derive(Clone, Debug)]
enum Step {
    Publish(u8),
    Fail(bool),
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..8u8).prop_map(Step::Publish),
        2 => any::<bool>().prop_map(Step::Fail),
        1 => Just(Step::Crash),
    ]
}

proptest! {
    #[test]
    fn no_position_is_lost_or_given_twice(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let journal = Arc::<TestJournal>::default();
            let mut hub = start(&journal, frames(10_000)).await;
            let mut acknowledged = BTreeMap::new();
            let (mut number, mut stored) = (0, 0);
            for step in steps {
                match step {
                    Step::Fail(fails) => journal.fails.store(fails, Ordering::Relaxed),
                    Step::Crash => {
                        hub = start(&journal, frames(10_000)).await;
                        stored = 0;
                    }
                    Step::Publish(count) => {
                        let (tx, mut rx) = mpsc::channel(8);
                        for _ in 0..count {
                            number += 1;
                            let (tx, data) = (tx.clone(), raw(&number.to_string()));
                            let text = data.get().to_owned();
                            let confirm = || -> Confirm {
                                Box::new(move |result| drop(tx.try_send((result, text))))
                            };
                            let (topic, key) = (topic(), None);
                            let message = NewMessage { topic: &topic, data: &data, key };
                            let progress = hub.try_publish(&message, &identity("ann"), confirm);
                            assert_eq!(progress.unwrap(), PublishProgress::Queued);
                        }
                        drop(tx);
                        while let Some((result, text)) = rx.recv().await {
                            let Ok(position) = result else { continue };
                            stored += 1;
                            let other = acknowledged.insert((position.epoch, position.offset), text);
                            assert_eq!(other, None, "{position} was given twice");
                        }
                        assert_eq!(hub.metrics().published.get(), stored);
                    }
                }
            }

            let hub = start(&journal, frames(10_000)).await;
            let topic = hub.existing_topic(&topic(), &identity("ann"), TopicRight::Subscribe);
            if topic.unwrap().is_some() {
                let texts: Vec<_> = acknowledged.into_values().collect();
                assert_eq!(retained(&hub).1, texts);
            } else {
                assert!(acknowledged.is_empty());
            }
        });
    }
}
