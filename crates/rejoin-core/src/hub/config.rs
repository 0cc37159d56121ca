//! The configuration of a hub.

use std::{collections::BTreeMap, num::NonZeroUsize, sync::Arc, time::Duration};

use rejoin_protocol::ProfileName;

use crate::{
    backend::{Journal, MemoryJournal, MemoryStore, Screens, Scrollback, Store, Terminals},
    frame::{Encode, Prepare},
    hub::topic::Durability,
    stream::{Retention, SlowReaderPolicy},
    time::MachineClock,
};

/// The configuration of a hub.
#[derive(Debug)]
pub struct HubConfig {
    /// The profiles that terminals are started from.
    pub profiles: BTreeMap<ProfileName, Profile>,
    /// The rules for topics. The first rule with a matching pattern applies, else the default.
    pub topics: Vec<TopicRule>,
    /// The settings of all sessions.
    pub sessions: SessionSettings,
    /// The limits.
    pub limits: HubLimits,
    /// The time between the end of a member's last connection and the member's departure.
    pub presence_grace: Duration,
    /// Encodes frames.
    pub encode: Encode,
    /// Computes other encodings of a snapshot as soon as it is taken.
    pub prepare: Prepare,
    /// Starts terminals.
    pub terminals: Arc<dyn Terminals>,
    /// Interprets the output of terminals.
    pub screens: Arc<dyn Screens>,
    /// Keeps the state of sessions for the next process.
    pub store: Arc<dyn Store>,
    /// Keeps messages and positions for the next process.
    pub journal: Arc<dyn Journal>,
    /// The place where events are before their emit is acknowledged: those for everyone, for users
    /// and for devices.
    pub emit_durability: Durability,
    /// The clock of idle time-outs.
    pub clock: MachineClock,
}

impl HubConfig {
    /// Creates a configuration without profiles and rules, with the default limits.
    #[must_use]
    pub fn new(encode: Encode, terminals: Arc<dyn Terminals>, screens: Arc<dyn Screens>) -> Self {
        Self {
            profiles: BTreeMap::new(),
            topics: Vec::new(),
            sessions: SessionSettings::default(),
            limits: HubLimits::default(),
            // Longer than a page reload or a change of the network.
            presence_grace: Duration::from_secs(10),
            encode,
            prepare: |_| {},
            terminals,
            screens,
            store: Arc::<MemoryStore>::default(),
            journal: Arc::<MemoryJournal>::default(),
            emit_durability: Durability::Memory,
            clock: MachineClock::of_process(),
        }
    }
}

/// The limits of a hub.
#[derive(Clone, Copy, Debug)]
pub struct HubLimits {
    /// The maximum number of connections of one user; `None`: unlimited.
    pub connections_per_user: Option<NonZeroUsize>,
    /// The maximum number of topics, and of implicit streams.
    pub topics: usize,
    /// The maximum number of topics that one user created.
    pub topics_per_user: usize,
    /// The maximum number of bytes that all streams of one user retain together. Above it the topic
    /// of the publish drops its oldest messages, except for the newest.
    pub retained_bytes_per_user: u64,
    /// The maximum number of sessions of one user.
    pub sessions_per_user: usize,
}

impl Default for HubLimits {
    fn default() -> Self {
        Self {
            connections_per_user: None,
            topics: 100_000,
            topics_per_user: 10_000,
            retained_bytes_per_user: 256 * 1024 * 1024,
            sessions_per_user: 200,
        }
    }
}

/// A command for terminals.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// The program and its arguments; `$NAME` stands for an environment variable.
    pub command: Vec<String>,
    /// The working directory, if the request names none.
    pub cwd: Option<String>,
    /// Environment variables in addition to the usual ones.
    pub env: Vec<(String, String)>,
    /// Advice for the user if the command does not exist, such as "install it with `…`".
    pub install_hint: Option<String>,
    /// The idle time-out of its sessions; `None`: that of all sessions.
    pub idle_timeout: Option<IdleTimeout>,
}

/// The time after which a session without connections ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleTimeout {
    /// The session stays.
    Never,
    /// The session ends after this time, in which the machine runs.
    After(Duration),
}

impl IdleTimeout {
    /// Returns the time; `None` if the session stays.
    #[must_use]
    pub fn time(self) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::After(time) => Some(time),
        }
    }
}

/// The retention of topics by name.
#[derive(Clone, Debug, Default)]
pub struct TopicRule {
    /// A name, or a prefix followed by `*`.
    pub pattern: String,
    /// The retention.
    pub retention: Retention,
    /// The policy for slow readers.
    pub slow_reader: SlowReaderPolicy,
    /// The place where messages are before they are acknowledged.
    pub durability: Durability,
}

/// The settings of all sessions.
#[derive(Clone, Copy, Debug)]
pub struct SessionSettings {
    /// The history that a terminal retains.
    pub scrollback: Scrollback,
    /// The idle time-out of sessions whose profile has none.
    pub idle_timeout: IdleTimeout,
    /// The time for which an ended session is kept, and then again its row and its history.
    pub retention: Duration,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            scrollback: Scrollback { lines: 10_000, bytes: 16 * 1024 * 1024 },
            idle_timeout: IdleTimeout::After(Duration::from_secs(30 * 60)),
            retention: Duration::from_secs(7 * 24 * 60 * 60),
        }
    }
}

impl Default for Retention {
    /// Returns the retention of a topic without a rule: 256 frames, 1 MiB, 5 minutes.
    fn default() -> Self {
        Self {
            frames: NonZeroUsize::new(256).expect("not zero"),
            bytes: NonZeroUsize::new(1024 * 1024).expect("not zero"),
            age: Some(Duration::from_secs(300)),
        }
    }
}
