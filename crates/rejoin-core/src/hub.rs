//! The hub: the registry of connections, topics and sessions.

mod sessions;
mod topics;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use rejoin_protocol::{ConnectionId, ProfileName, SessionId, StreamNumber, TopicName};

pub use sessions::CreateTerminal;

use crate::{
    connection::Connection,
    outside::{Screens, Terminals},
    session::Session,
    shutdown::Shutdown,
    stream::{Retention, SlowReader, Stream},
    wire::Encode,
};

/// The topic that each connection reads (B10).
const ALL: &str = "@all";

/// What a hub is made from.
#[derive(Debug)]
pub struct HubConfig {
    /// What a terminal may be started from.
    pub profiles: BTreeMap<ProfileName, Profile>,
    /// How much topics keep: the first rule whose pattern matches; else the default.
    pub topics: Vec<TopicRule>,
    /// What all sessions share.
    pub sessions: SessionSettings,
    /// How frames are laid out.
    pub encode: Encode,
    /// Where terminals run.
    pub terminals: Arc<dyn Terminals>,
    /// What interprets them.
    pub screens: Arc<dyn Screens>,
}

/// How a terminal is started.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The program and its arguments; `$NAME` stands for an environment variable.
    pub command: Vec<String>,
    /// Where it starts, if the request does not say.
    pub cwd: Option<String>,
    /// Environment variables besides the ordinary ones.
    pub env: Vec<(String, String)>,
}

/// What topics of a name keep.
#[derive(Clone, Debug)]
pub struct TopicRule {
    /// A name, or a prefix with `*` at its end.
    pub pattern: String,
    /// How much they keep.
    pub retention: Retention,
    /// What happens to a reader that is slow.
    pub slow_reader: SlowReader,
}

/// What all sessions share.
#[derive(Clone, Copy, Debug)]
pub struct SessionSettings {
    /// Lines of history that a terminal keeps.
    pub scrollback_lines: usize,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self { scrollback_lines: 10_000 }
    }
}

impl Default for Retention {
    /// What a topic keeps without a rule: 256 frames, 1 MiB, 5 minutes.
    fn default() -> Self {
        Self {
            frames: NonZeroUsize::new(256).expect("not zero"),
            bytes: NonZeroUsize::new(1024 * 1024).expect("not zero"),
            age: Some(Duration::from_secs(300)),
        }
    }
}

/// A handle to the registry.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

struct Shared {
    config: HubConfig,
    shutdown: Shutdown,
    /// Held for a look-up or a change.
    connections: Mutex<HashMap<ConnectionId, Connection>>,
    /// Held for a look-up or a change; read by each publish.
    topics: RwLock<HashMap<TopicName, Stream>>,
    /// Held for a look-up or a change.
    sessions: RwLock<HashMap<SessionId, Session>>,
    /// The next stream's number: never used twice in a process's life.
    next_stream: AtomicU32,
    everyone: Stream,
}

impl Hub {
    /// A hub whose tasks belong to `shutdown`.
    #[must_use]
    pub fn new(config: HubConfig, shutdown: &Shutdown) -> Self {
        let all = TopicName::new(ALL).expect("a valid name");
        let rule = topics::default_rule();
        let everyone = topics::stream(&all, rule, StreamNumber(1), config.encode);
        let shared = Shared {
            config,
            shutdown: shutdown.clone(),
            connections: Mutex::default(),
            topics: RwLock::default(),
            sessions: RwLock::default(),
            next_stream: AtomicU32::new(2),
            everyone,
        };
        let hub = Self { shared: Arc::new(shared) };
        let sweeper = hub.clone();
        shutdown.spawn(async move { sweeper.sweep_until_shutdown().await });
        hub
    }

    /// The group that the hub's tasks belong to.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.shared.shutdown
    }

    /// How frames are laid out.
    #[must_use]
    pub fn encode(&self) -> Encode {
        self.shared.config.encode
    }

    /// Registers a connection until the guard is dropped.
    #[must_use]
    pub fn join(&self, connection: Connection) -> Membership {
        self.shared.connections.lock().insert(connection.id().clone(), connection.clone());
        Membership { hub: self.clone(), connection }
    }

    /// Looks up a connection.
    #[must_use]
    pub fn connection(&self, id: &ConnectionId) -> Option<Connection> {
        self.shared.connections.lock().get(id).cloned()
    }

    /// How many connections there are.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.shared.connections.lock().len()
    }

    fn next_stream(&self) -> StreamNumber {
        StreamNumber(self.shared.next_stream.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("connections", &self.connection_count()).finish_non_exhaustive()
    }
}

/// A connection's place in the hub; dropping it leaves (A7).
#[derive(Debug)]
pub struct Membership {
    hub: Hub,
    connection: Connection,
}

impl Membership {
    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.hub.shared.connections.lock().remove(self.connection.id());
    }
}
