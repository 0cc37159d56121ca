//! A hub's state to the next process, and back.

use std::time::Duration;

use rejoin_protocol::{StreamNumber, TopicName};

use crate::{
    hub::{
        ALL, Hub,
        implicit_streams::{Epochs, ImplicitStreamKey},
        topics::{self, Topic},
    },
    saved::{SavedHub, SavedKey, SavedStream, StreamOwner, instant},
    stream::{Stream, StreamConfig},
    time::now_ms,
};

impl Hub {
    /// What the next process needs so that nobody misses anything. For when all tasks have ended.
    ///
    /// Whatever is published, emitted or typed from here on is refused with `overloaded`, so
    /// that no position is given twice.
    #[must_use]
    pub fn save(&self) -> SavedHub {
        let shared = &self.shared;
        shared.gate.close();
        let mut streams = vec![shared.everyone.save(StreamOwner::Everyone)];
        for topic in shared.topics.read().all() {
            let (name, maker) = (topic.name().clone(), topic.maker().clone());
            streams.push(topic.stream().save(StreamOwner::Topic { name, maker }));
        }
        let registry = shared.registry.state.lock();
        for (owner, stream) in registry.implicit_streams.iter() {
            let owner = match owner.clone() {
                ImplicitStreamKey::User(user) => StreamOwner::User { user },
                ImplicitStreamKey::Device(user, device) => StreamOwner::Device { user, device },
                // Whoever looks at a list gets it anew from the next process.
                ImplicitStreamKey::Sessions(_) => continue,
            };
            streams.push(stream.save(owner));
        }
        let evicted = registry.implicit_streams.save_evicted();
        drop(registry);
        let keys = shared.published.results().into_iter().map(|((user, key), position, age_ms)| {
            let (topic, key) = key;
            SavedKey { user, topic, key, position, age_ms }
        });
        let epochs = shared.epochs.save();
        SavedHub { at: now_ms(), epochs, evicted, streams, keys: keys.collect() }
    }

    /// Takes over what another process left. For a hub that nobody uses yet.
    pub(super) fn take_over(&self, saved: SavedHub, away: Duration) {
        let away_ms = u64::try_from(away.as_millis()).unwrap_or(u64::MAX);
        for stream in saved.streams {
            self.take_over_stream(stream, away_ms);
        }
        self.shared.registry.state.lock().implicit_streams.restore_evicted(saved.evicted);
        for SavedKey { user, topic, key, position, age_ms } in saved.keys {
            let at = instant(age_ms.saturating_add(away_ms));
            self.shared.published.remember(&user, (topic, key), position, at);
        }
    }

    fn take_over_stream(&self, mut saved: SavedStream, away_ms: u64) {
        saved.age(away_ms);
        let (name, maker) = match saved.owner.clone() {
            // It was taken over when the hub was made.
            StreamOwner::Everyone => return,
            StreamOwner::Topic { name, maker } => (name, maker),
            StreamOwner::User { user } => {
                return self.take_over_own(ImplicitStreamKey::User(user), &saved);
            }
            StreamOwner::Device { user, device } => {
                return self.take_over_own(ImplicitStreamKey::Device(user, device), &saved);
            }
        };
        let config = self.topic_config(&name);
        let mut topics = self.shared.topics.write();
        let budget = self.shared.budgets.of(&maker);
        let stream = Stream::restored(config, &saved, Some(budget));
        topics.insert(Topic::new(name, stream, maker, &self.shared.tools));
    }

    fn take_over_own(&self, owner: ImplicitStreamKey, saved: &SavedStream) {
        let config = self.own_config(&owner);
        let budget = self.shared.budgets.of(owner.user());
        let stream = Stream::restored(config, saved, Some(budget));
        self.shared.registry.state.lock().implicit_streams.insert(owner, stream);
    }
}

impl SavedStream {
    fn age(&mut self, away_ms: u64) {
        self.quiet_ms = self.quiet_ms.saturating_add(away_ms);
        for frame in &mut self.frames {
            frame.age_ms = frame.age_ms.saturating_add(away_ms);
        }
    }
}

/// Everyone's stream and the clock of epochs: those that were left, or new ones.
pub(super) fn beginnings(
    saved: Option<&SavedHub>,
    config: StreamConfig,
) -> (Stream, Epochs, Duration) {
    let Some(saved) = saved else { return (Stream::new(config), Epochs::new(), Duration::ZERO) };
    // A clock that was set back meanwhile tells nothing: then no time has passed.
    let away = Duration::from_millis(now_ms().saturating_sub(saved.at));
    let everyone = saved.streams.iter().find(|stream| stream.owner == StreamOwner::Everyone);
    let stream = match everyone.cloned() {
        Some(mut everyone) => {
            everyone.age(u64::try_from(away.as_millis()).unwrap_or(u64::MAX));
            Stream::restored(config, &everyone, None)
        }
        None => Stream::new(config),
    };
    (stream, Epochs::restored(saved.epochs, away), away)
}

/// What everyone's stream is made from.
pub(super) fn everyone_config(encode: crate::wire::Encode) -> StreamConfig {
    let all = TopicName::new(ALL).expect("a valid name");
    topics::config(&all, topics::default_rule(), StreamNumber(1), encode)
}
