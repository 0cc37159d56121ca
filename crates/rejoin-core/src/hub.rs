//! The hub: the connections, topics and sessions of a server.

mod budgets;
mod changes;
mod config;
mod connections;
mod durable;
mod emit;
mod implicit_streams;
mod lifetimes;
mod observer;
mod publish;
mod recover;
mod refusals;
mod registry;
mod restore;
mod revivals;
mod sessions;
mod terminals;
mod topic;
mod topic_stream;
mod topics;

use std::{fmt, mem, sync::Arc};

use rejoin_protocol::{
    ErrorCode, Position, RequestKey, Subject, TopicName,
    message::{ErrorBody, PresenceState},
};
use tokio::sync::Notify;

pub use config::{HubConfig, HubLimits, IdleTimeout, Profile, SessionSettings, TopicRule};
pub use connections::Registration;
pub use durable::{Confirm, PublishProgress};
pub use lifetimes::SessionHistory;
pub use publish::NewMessage;
pub use terminals::CreateTerminal;
pub use topic::{Durability, Subscription, Topic};

use crate::{
    access::{Identity, SessionRight, TopicRight},
    events::{EventHandler, EventHandlerTaken, Events, HubEvent},
    frame::Encode,
    gate::Gate,
    hub::{
        budgets::Budgets, changes::SessionChanges, durable::DurableQueue,
        implicit_streams::ImplicitStreams, registry::ConnectionRegistry, sessions::Sessions,
        topics::Topics,
    },
    idempotency::IdempotencyCache,
    metrics::Metrics,
    presence::{PresenceContext, PresenceGroup, PresenceSubscription, empty_state},
    recorder::Recorder,
    session::{CheckpointSlots, LifetimeContext, ScreenThreads},
    shutdown::Shutdown,
};

/// A handle to the connections, topics and sessions of a server.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use std::sync::Arc;
///
/// use rejoin_core::{
///     Caps, Hub, HubConfig, Identity, MemoryScreens, MemoryTerminals, Shutdown, TopicRight,
/// };
/// use rejoin_protocol::{RequestKey, TopicName, UserId};
/// use serde_json::value::RawValue;
///
/// let encode = |_, parts: &[&[u8]]| parts.concat().into();
/// let config = HubConfig::new(encode, MemoryTerminals::new(), Arc::new(MemoryScreens));
/// let hub = Hub::new(config, &Shutdown::new());
///
/// // A topic is created by its first use.
/// let ann = Identity::new(UserId::new("ann").unwrap(), Caps::user());
/// let news = TopicName::new("news").unwrap();
/// let data = RawValue::from_string("{\"score\":3}".into()).unwrap();
/// let key = RequestKey::new("a-key").unwrap();
/// let first = hub.publish(&news, &ann, &data, Some(&key)).await.unwrap();
///
/// // A retry with the same key publishes nothing and returns the same position.
/// let retry = hub.publish(&news, &ann, &data, Some(&key)).await.unwrap();
/// assert_eq!(first, retry);
///
/// let topic = hub.existing_topic(&news, &ann, TopicRight::Subscribe).unwrap().unwrap();
/// assert_eq!(topic.stream().head(), first);
/// # }
/// ```
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

/// The parts of a hub. Each part with a lock takes it in its own methods only.
struct Shared {
    config: HubConfig,
    shutdown: Shutdown,
    /// Closed once the shutdown has begun, which is after all layers around the hub have ended.
    gate: Gate,
    metrics: Arc<Metrics>,
    events: Events,
    presence: Arc<PresenceContext>,
    screen_threads: ScreenThreads,
    checkpoint_slots: CheckpointSlots,
    connections: ConnectionRegistry,
    /// The members are all connections.
    online: Arc<PresenceGroup>,
    implicit_streams: ImplicitStreams,
    budgets: Arc<Budgets>,
    topics: Topics,
    durable: DurableQueue,
    /// The results of publishes with a key.
    published: IdempotencyCache<(TopicName, RequestKey), Position>,
    sessions: Sessions,
    lifetime: LifetimeContext,
    /// A program has ended.
    ended: Arc<Notify>,
    /// Changes for session lists.
    changes: Arc<SessionChanges>,
}

impl Hub {
    /// Creates a hub whose tasks belong to `shutdown`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(mut config: HubConfig, shutdown: &Shutdown) -> Self {
        let limits = config.limits;
        let metrics = Arc::<Metrics>::default();
        let events = Events::new(metrics.events_dropped.clone());
        let changes = Arc::<SessionChanges>::default();
        let presence = Arc::new(PresenceContext::new(config.encode, config.presence_grace));
        let budgets = Arc::new(Budgets::new(limits.retained_bytes_per_user));

        let implicit_streams =
            ImplicitStreams::new(limits.topics, Arc::clone(&budgets), Arc::clone(&presence));
        let topics = Topics::new(
            mem::take(&mut config.topics),
            limits,
            Arc::clone(&budgets),
            Arc::clone(&presence),
            Arc::clone(&metrics),
        );
        let sessions = Sessions::new(
            limits.sessions_per_user,
            events.clone(),
            Arc::clone(&changes),
            Arc::clone(&metrics),
        );
        let shared = Shared {
            shutdown: shutdown.clone(),
            gate: Gate::default(),
            connections: ConnectionRegistry::new(limits.connections_per_user),
            online: PresenceGroup::of_users(Arc::new(events.clone()), Arc::clone(&presence)),
            published: IdempotencyCache::default(),
            screen_threads: ScreenThreads::default(),
            lifetime: LifetimeContext {
                recorder: Recorder::new(Arc::clone(&config.store)),
                timers: Arc::default(),
                clock: config.clock.clone(),
            },
            ended: Arc::default(),
            checkpoint_slots: CheckpointSlots::default(),
            durable: DurableQueue::new(Arc::clone(&config.journal)),
            config,
            metrics,
            events,
            presence,
            implicit_streams,
            budgets,
            topics,
            sessions,
            changes,
        };

        let hub = Self { shared: Arc::new(shared) };
        hub.start_tasks();
        hub
    }

    fn start_tasks(&self) {
        let shutdown = &self.shared.shutdown;

        // Refuses appends as soon as the layers around the hub have ended.
        let (gate, stop) = (self.shared.gate.clone(), shutdown.clone());
        shutdown.spawn(async move {
            stop.begun().await;
            gate.close();
        });

        // Drops what has expired while nothing happens.
        let hub = self.clone();
        shutdown.spawn(async move { hub.sweep_until_shutdown().await });

        // Ends memberships after the grace period.
        let hub = self.clone();
        shutdown.spawn(async move { hub.run_timers_until_shutdown().await });

        // Calls the handlers of the embedding program.
        let (events, stop) = (self.shared.events.clone(), shutdown.clone());
        shutdown.spawn(async move { events.run(&stop).await });

        // Commits the transitions of sessions.
        let recorder = self.shared.lifetime.recorder.clone();
        shutdown.spawn(recorder.run(shutdown.clone()));

        // Commits the messages of durable streams.
        let hub = self.clone();
        shutdown.spawn(async move { hub.run_journal_until_shutdown().await });

        // Ends idle sessions, and removes those that ended long ago.
        let hub = self.clone();
        shutdown.spawn(async move { hub.run_lifetimes_until_shutdown().await });

        // Publishes the changes of sessions to their lists.
        let hub = self.clone();
        shutdown.spawn(async move { hub.publish_changes_until_shutdown().await });
    }

    /// Returns the group of the hub's tasks.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.shared.shutdown
    }

    /// Returns the metrics of the hub and of the gateway around it.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }

    /// Returns the encoder of frames.
    #[must_use]
    pub fn encode(&self) -> Encode {
        self.shared.config.encode
    }

    /// Sets the handler of the hub's later events.
    ///
    /// # Errors
    /// [`EventHandlerTaken`] if the hub already has a handler.
    pub fn set_handler(&self, handler: Arc<dyn EventHandler>) -> Result<(), EventHandlerTaken> {
        self.shared.events.set_handler(handler)
    }

    /// Returns the presence in a topic, in a session, or of a user.
    ///
    /// # Errors
    /// `forbidden` or `unknown_session`. Neither reveals whether the subject exists.
    pub fn presence(
        &self,
        identity: &Identity,
        subject: &Subject,
    ) -> Result<PresenceState, ErrorBody> {
        let Subject::Topic(name) = subject else {
            return Ok(self.presence_group(identity, subject)?.state(subject));
        };

        // A query must not create the topic.
        let topic = self.existing_topic(name, identity, TopicRight::Presence)?;
        let state = topic.map(|topic| topic.presence().state(subject));
        Ok(state.unwrap_or_else(|| empty_state(subject)))
    }

    /// Checks that the caller may see the presence of a subject.
    ///
    /// # Errors
    /// As [`presence`](Self::presence).
    pub fn check_presence(&self, identity: &Identity, subject: &Subject) -> Result<(), ErrorBody> {
        match subject {
            Subject::Topic(name) => {
                self.existing_topic(name, identity, TopicRight::Presence).map(drop)
            }
            Subject::Session(_) | Subject::User(_) => {
                self.presence_group(identity, subject).map(drop)
            }
        }
    }

    /// Returns the presence of a subject, and the stream of its changes.
    ///
    /// # Errors
    /// As [`presence`](Self::presence).
    pub fn subscribe_presence(
        &self,
        identity: &Identity,
        subject: &Subject,
    ) -> Result<PresenceSubscription, ErrorBody> {
        Ok(self.presence_group(identity, subject)?.subscribe(subject))
    }

    fn presence_group(
        &self,
        identity: &Identity,
        subject: &Subject,
    ) -> Result<Arc<PresenceGroup>, ErrorBody> {
        match subject {
            Subject::Topic(name) => {
                let topic = self.topic(name, identity, TopicRight::Presence)?;
                Ok(Arc::clone(topic.presence()))
            }
            Subject::Session(id) => {
                let session = self.session(id, identity, SessionRight::Attach)?;
                Ok(Arc::clone(session.presence()))
            }
            // One group has the devices of all users, and a stream for each user with followers.
            Subject::User(user) if identity.caps.admin || identity.user == *user => {
                Ok(Arc::clone(&self.shared.online))
            }
            Subject::User(_) => {
                let sentence = "only an administrator may see the presence of another user";
                Err(ErrorBody::new(ErrorCode::Forbidden, sentence))
            }
        }
    }

    async fn run_timers_until_shutdown(&self) {
        tokio::select! {
            () = self.shared.presence.run_timers() => {}
            () = self.shared.shutdown.begun() => {}
        }
    }

    /// Queues and delivers an event. Called with no lock held.
    fn notify(&self, event: HubEvent) {
        self.shared.events.notify(event);
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("connections", &self.connection_count()).finish_non_exhaustive()
    }
}
