//! The hub: all connections, topics and sessions, and what is said to them.

mod budgets;
mod changes;
mod config;
mod gate;
mod implicit_streams;
mod registry;
mod restore;
mod sessions;
mod topics;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, atomic::AtomicU32},
};

use parking_lot::RwLock;
use rejoin_protocol::{
    ErrorCode, Position, RequestKey, SessionId, Subject, TopicName,
    message::{ErrorBody, PresenceState},
};

pub use config::{HubConfig, HubLimits, Profile, SessionSettings, TopicRule};
pub(crate) use gate::Gate;
pub use registry::Registration;
pub use sessions::CreateTerminal;
pub(crate) use sessions::SessionContext;
pub use topics::{Subscription, Topic};

use crate::{
    access::{Identity, SessionRight, TopicRight},
    events::{EventHandler, EventHandlerTaken, Events, HubEvent},
    hub::{
        budgets::Budgets, changes::SessionChanges, implicit_streams::Epochs, registry::Registry,
        sessions::Slot, topics::Topics,
    },
    idempotency::IdempotencyCache,
    metrics::Metrics,
    presence::{GraceTimers, Place, PresenceContext, PresenceSubscription, empty_state},
    saved::SavedHub,
    session::ScreenThreads,
    shutdown::Shutdown,
    stream::Stream,
    wire::Encode,
};

/// The topic of what is said to everyone (B10).
const ALL: &str = "@all";

/// A handle to all that lives on this server.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

struct Shared {
    config: HubConfig,
    shutdown: Shutdown,
    /// Closed when the shutdown has begun and all layers around the hub have ended.
    gate: Gate,
    metrics: Arc<Metrics>,
    events: Events,
    tools: Arc<PresenceContext>,
    screen_threads: ScreenThreads,
    registry: Registry,
    /// Where each connection is present: who is connected at all (C5).
    everyone_place: Arc<Place>,
    /// What is said to everyone.
    everyone: Stream,
    /// The epochs of users' and devices' streams.
    epochs: Epochs,
    budgets: Budgets,
    /// Held for a look-up or a change; read by each publish.
    topics: RwLock<Topics>,
    /// What was published with a key.
    published: IdempotencyCache<(TopicName, RequestKey), Position>,
    /// Held for a look-up or a change.
    sessions: RwLock<HashMap<SessionId, Slot>>,
    /// Sessions that changed, for those who look at lists.
    changes: Arc<SessionChanges>,
}

impl Hub {
    /// A hub whose tasks belong to `shutdown`.
    #[must_use]
    pub fn new(config: HubConfig, shutdown: &Shutdown) -> Self {
        Self::restored(config, shutdown, None)
    }

    /// A hub that goes on where another process stopped.
    #[must_use]
    pub fn restored(config: HubConfig, shutdown: &Shutdown, saved: Option<SavedHub>) -> Self {
        let everyone = restore::everyone_config(config.encode);
        let (everyone, epochs, away) = restore::beginnings(saved.as_ref(), everyone);
        let tools = Arc::new(PresenceContext {
            encode: config.encode,
            next_stream: AtomicU32::new(2),
            grace: config.presence_grace,
            grace_timers: GraceTimers::default(),
        });
        let metrics = Arc::<Metrics>::default();
        let events = Events::new(metrics.events_dropped.clone());
        let shared = Shared {
            shutdown: shutdown.clone(),
            gate: Gate::default(),
            metrics,
            events: events.clone(),
            registry: Registry::default(),
            everyone_place: Place::of_users(events, Arc::clone(&tools)),
            everyone,
            epochs,
            budgets: Budgets::new(config.limits.retained_bytes_per_user),
            topics: RwLock::default(),
            published: IdempotencyCache::default(),
            sessions: RwLock::default(),
            changes: Arc::default(),
            screen_threads: ScreenThreads::default(),
            tools,
            config,
        };
        let hub = Self { shared: Arc::new(shared) };
        if let Some(saved) = saved {
            hub.take_over(saved, away);
        }
        let (gate, stop) = (hub.shared.gate.clone(), shutdown.clone());
        shutdown.spawn(async move {
            stop.begun().await;
            gate.close();
        });
        let sweeper = hub.clone();
        shutdown.spawn(async move { sweeper.sweep_until_shutdown().await });
        let settler = hub.clone();
        shutdown.spawn(async move { settler.settle_until_shutdown().await });
        let (events, stop) = (hub.shared.events.clone(), shutdown.clone());
        shutdown.spawn(async move { events.run(&stop).await });
        let teller = hub.clone();
        shutdown.spawn(async move { teller.tell_changes_until_shutdown().await });
        hub
    }

    /// The group that the hub's tasks belong to.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.shared.shutdown
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }

    /// How frames are laid out.
    #[must_use]
    pub fn encode(&self) -> Encode {
        self.shared.config.encode
    }

    /// Registers who hears of what happens in the hub from here on.
    ///
    /// # Errors
    /// [`EventHandlerTaken`] if there is somebody already.
    pub fn set_handler(&self, handler: Arc<dyn EventHandler>) -> Result<(), EventHandlerTaken> {
        self.shared.events.set_handler(handler)
    }

    /// Who is present, for those who may know.
    ///
    /// # Errors
    /// `forbidden` or `unknown_session`, without telling what exists.
    pub fn presence(
        &self,
        identity: &Identity,
        subject: &Subject,
    ) -> Result<PresenceState, ErrorBody> {
        let Subject::Topic(name) = subject else {
            return Ok(self.place(identity, subject)?.state(subject));
        };
        // Asking makes no topic.
        let topic = self.existing_topic(name, identity, TopicRight::Presence)?;
        Ok(topic.map_or_else(|| empty_state(subject), |topic| topic.place().state(subject)))
    }

    /// Whether somebody may know who is present.
    ///
    /// # Errors
    /// As [`presence`](Self::presence).
    pub fn check_presence(&self, identity: &Identity, subject: &Subject) -> Result<(), ErrorBody> {
        match subject {
            Subject::Topic(name) => {
                self.existing_topic(name, identity, TopicRight::Presence).map(drop)
            }
            Subject::Session(_) | Subject::User(_) => self.place(identity, subject).map(drop),
        }
    }

    /// Who is present, and who comes and goes from here on.
    ///
    /// # Errors
    /// As [`presence`](Self::presence).
    pub fn subscribe_presence(
        &self,
        identity: &Identity,
        subject: &Subject,
    ) -> Result<PresenceSubscription, ErrorBody> {
        Ok(self.place(identity, subject)?.follow(subject))
    }

    fn place(&self, identity: &Identity, subject: &Subject) -> Result<Arc<Place>, ErrorBody> {
        match subject {
            Subject::Topic(name) => {
                let topic = self.topic(name, identity, TopicRight::Presence)?;
                Ok(Arc::clone(topic.place()))
            }
            Subject::Session(id) => {
                let session = self.session(id, identity, SessionRight::Attach)?;
                Ok(Arc::clone(session.place()))
            }
            Subject::User(user) if identity.caps.admin || identity.user == *user => {
                Ok(Arc::clone(&self.shared.everyone_place))
            }
            Subject::User(_) => {
                let sentence = "only an administrator may see whether another user is there";
                Err(ErrorBody::new(ErrorCode::Forbidden, sentence))
            }
        }
    }

    async fn settle_until_shutdown(&self) {
        tokio::select! {
            () = self.shared.tools.grace_timers.run() => {}
            () = self.shared.shutdown.begun() => {}
        }
    }

    /// Tells the handler of events.
    fn tell(&self, event: HubEvent) {
        self.shared.events.tell(event);
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("connections", &self.connection_count()).finish_non_exhaustive()
    }
}
