//! The save of a hub's state, and its restore in the next process.

use std::time::Duration;

use crate::{
    hub::{Hub, implicit_streams::ImplicitStreamKey},
    saved::{SavedHub, SavedKey, SavedStream, StreamOwner, instant},
    time::now_ms,
};

impl Hub {
    /// Returns the state for the next process. Call it after all tasks have ended.
    ///
    /// Later publishes, emits and input are refused with `overloaded`, so that no position is
    /// given twice.
    #[must_use]
    pub fn save(&self) -> SavedHub {
        let shared = &self.shared;

        // First: an append either precedes the save of its stream or is refused.
        shared.gate.close();

        let (epochs, evicted, mut streams) = shared.implicit_streams.save();
        streams.extend(shared.topics.save());
        let keys = shared.published.results().into_iter().map(|((user, key), position, age_ms)| {
            let (topic, key) = key;
            SavedKey { user, topic, key, position, age_ms }
        });

        SavedHub { at: now_ms(), epochs, evicted, streams, keys: keys.collect() }
    }

    /// Restores a state, whose ages are up to date. For a new hub only.
    pub(super) fn restore(&self, saved: SavedHub) {
        for stream in saved.streams {
            self.restore_stream(&stream);
        }

        self.shared.implicit_streams.restore_evicted(saved.evicted);

        for SavedKey { user, topic, key, position, age_ms } in saved.keys {
            self.shared.published.restore(&user, (topic, key), position, instant(age_ms));
        }
    }

    fn restore_stream(&self, saved: &SavedStream) {
        let key = match saved.owner.clone() {
            // The hub's constructor has restored it.
            StreamOwner::Everyone => return,
            StreamOwner::Topic { name, creator } => {
                return self.shared.topics.restore(name, creator, saved);
            }
            StreamOwner::User { user } => ImplicitStreamKey::User(user),
            StreamOwner::Device { user, device } => ImplicitStreamKey::Device(user, device),
        };

        self.shared.implicit_streams.restore_stream(key, saved);
    }
}

/// Adds the time since the save to all ages, and returns it.
pub(super) fn age(saved: &mut SavedHub) -> Duration {
    // If the clock was set back meanwhile, the time is unknown: nothing ages.
    let away_ms = now_ms().saturating_sub(saved.at);
    // Saturating: the file may hold any number.
    let age = |ms: &mut u64| *ms = ms.saturating_add(away_ms);

    for stream in &mut saved.streams {
        age(&mut stream.idle_ms);
        stream.frames.iter_mut().for_each(|frame| age(&mut frame.age_ms));
    }

    saved.keys.iter_mut().for_each(|key| age(&mut key.age_ms));
    Duration::from_millis(away_ms)
}
