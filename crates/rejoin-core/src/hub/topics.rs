//! The topics of a hub: created by their first use, dropped when nothing is left of them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use rejoin_protocol::{ErrorCode, TopicName, UserId, message::ErrorBody};

use crate::{
    access,
    hub::{
        budgets::Budgets,
        config::{HubLimits, TopicRule},
        topic::{Durability, Topic},
        topic_stream::{self, JournalStream},
    },
    lock::{RwLock, level::HUB_MAP},
    metrics::Metrics,
    presence::PresenceContext,
    saved::SavedStream,
    stream::{Stream, StreamConfig},
};

/// The topics of a hub.
#[derive(Debug)]
pub(super) struct Topics {
    rules: Vec<TopicRule>,
    limits: HubLimits,
    budgets: Arc<Budgets>,
    context: Arc<PresenceContext>,
    metrics: Arc<Metrics>,
    /// Read by each publish.
    state: RwLock<State, HUB_MAP>,
}

#[derive(Debug, Default)]
struct State {
    by_name: HashMap<TopicName, Topic>,
    /// The number of topics that each user created. Never 0.
    created: HashMap<UserId, usize>,
}

impl Topics {
    pub(super) fn new(
        rules: Vec<TopicRule>,
        limits: HubLimits,
        budgets: Arc<Budgets>,
        context: Arc<PresenceContext>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { rules, limits, budgets, context, metrics, state: RwLock::default() }
    }

    pub(super) fn get(&self, name: &TopicName) -> Option<Topic> {
        self.state.read().by_name.get(name).cloned()
    }

    /// Returns a topic. Creates it if it does not exist.
    ///
    /// # Errors
    /// `too_many_topics`.
    pub(super) fn get_or_create(
        &self,
        name: &TopicName,
        creator: &UserId,
    ) -> Result<Topic, ErrorBody> {
        if let Some(topic) = self.get(name) {
            return Ok(topic);
        }

        let mut state = self.state.write();

        // Another request may have created it between the two locks.
        if let Some(topic) = state.by_name.get(name) {
            return Ok(topic.clone());
        }

        let created = state.created.get(creator).copied().unwrap_or_default();
        if created >= self.limits.topics_per_user || state.by_name.len() >= self.limits.topics {
            self.metrics.rate_limited("topics");
            return Err(ErrorCode::TooManyTopics.into());
        }

        // The creator is accountable for the topic, also for the messages of others.
        let budget = self.budgets.of(creator);
        let (config, durability) = self.config(name);
        let stream = Stream::with_budget(config, budget);
        let topic = Topic::new(name.clone(), stream, creator.clone(), durability, &self.context);
        state.insert(topic.clone());
        self.update_gauge(&state);
        Ok(topic)
    }

    /// Returns the first `max` topics after `after` that match `filter`, sorted by name.
    pub(super) fn page(
        &self,
        after: Option<&TopicName>,
        max: usize,
        filter: impl Fn(&TopicName) -> bool,
    ) -> Vec<Topic> {
        let state = self.state.read();
        let mut first = BTreeMap::new();
        for (name, topic) in &state.by_name {
            if after.is_none_or(|after| name > after) && filter(name) {
                first.insert(name, topic);
                if first.len() > max {
                    first.pop_last();
                }
            }
        }

        first.into_values().cloned().collect()
    }

    pub(super) fn count(&self) -> usize {
        self.state.read().by_name.len()
    }

    /// Drops expired messages and unused topics.
    pub(super) fn sweep(&self) {
        // The long pass holds the read lock, so publishes continue. The short one checks again under
        // the write lock.
        let spent = {
            let state = self.state.read();
            let spent = state.by_name.iter().filter(|(_, topic)| topic.is_spent());
            spent.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };

        if spent.is_empty() {
            return;
        }

        let mut state = self.state.write();
        spent.iter().for_each(|name| state.remove_unused(name));
        self.update_gauge(&state);
    }

    /// Returns the streams of all topics with this durability.
    pub(super) fn streams(&self, durability: Durability) -> Vec<JournalStream> {
        let state = self.state.read();
        let topics = state.by_name.values().filter(|topic| topic.durability() == durability);
        topics.map(Topic::journal_stream).collect()
    }

    /// Restores the topic of a saved stream, unless the topic exists.
    pub(super) fn restore(&self, name: TopicName, creator: UserId, saved: &SavedStream) {
        let budget = self.budgets.of(&creator);
        let (config, durability) = self.config(&name);
        let stream = Stream::restored(config, saved, Some(budget));
        let topic = Topic::new(name, stream, creator, durability, &self.context);
        let mut state = self.state.write();
        if !state.by_name.contains_key(topic.name()) {
            state.insert(topic);
            self.update_gauge(&state);
        }
    }

    fn config(&self, name: &TopicName) -> (StreamConfig, Durability) {
        let matches = |rule: &&TopicRule| access::matches(&rule.pattern, name.as_str());
        let rule = self.rules.iter().find(matches).cloned().unwrap_or_default();
        let TopicRule { retention, slow_reader, durability, .. } = rule;
        let config = topic_stream::config(name, (retention, slow_reader), &self.context);
        (config, durability)
    }

    fn update_gauge(&self, state: &State) {
        // Set from the map, so that it cannot drift.
        let count = i64::try_from(state.by_name.len()).unwrap_or(i64::MAX);
        self.metrics.topics.set(count);
    }
}

impl State {
    fn insert(&mut self, topic: Topic) {
        *self.created.entry(topic.creator().clone()).or_default() += 1;
        self.by_name.insert(topic.name().clone(), topic);
    }

    fn remove_unused(&mut self, name: &TopicName) {
        let Some(topic) = self.by_name.get(name).filter(|topic| topic.is_unused()) else { return };
        let creator = topic.creator();

        // A dropped topic no longer counts towards the limit of its creator.
        if let Some(created) = self.created.get_mut(creator) {
            *created -= 1;
            if *created == 0 {
                self.created.remove(creator);
            }
        }

        self.by_name.remove(name);
    }
}
