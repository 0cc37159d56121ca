//! What a hub is made from.

use std::{collections::BTreeMap, num::NonZeroUsize, sync::Arc, time::Duration};

use rejoin_protocol::ProfileName;

use crate::{
    backend::{Screens, Scrollback, Terminals},
    stream::{Retention, SlowReaderPolicy},
    wire::{Encode, Prepare},
};

/// What a hub is made from.
#[derive(Debug)]
pub struct HubConfig {
    /// What a terminal may be started from.
    pub profiles: BTreeMap<ProfileName, Profile>,
    /// How much topics keep: the first rule whose pattern matches; else the default.
    pub topics: Vec<TopicRule>,
    /// What all sessions share.
    pub sessions: SessionSettings,
    /// How much there may be.
    pub limits: HubLimits,
    /// How long somebody may be away before others are told that they left.
    pub presence_grace: Duration,
    /// How frames are laid out.
    pub encode: Encode,
    /// Which other forms of snapshots are made before anybody asks for them.
    pub prepare: Prepare,
    /// Where terminals run.
    pub terminals: Arc<dyn Terminals>,
    /// What interprets them.
    pub screens: Arc<dyn Screens>,
}

impl HubConfig {
    /// No profiles, no rules for topics, the default limits.
    #[must_use]
    pub fn new(encode: Encode, terminals: Arc<dyn Terminals>, screens: Arc<dyn Screens>) -> Self {
        Self {
            profiles: BTreeMap::new(),
            topics: Vec::new(),
            sessions: SessionSettings::default(),
            limits: HubLimits::default(),
            presence_grace: Duration::from_secs(10),
            encode,
            prepare: |_| {},
            terminals,
            screens,
        }
    }
}

/// How much there may be in a hub.
#[derive(Clone, Copy, Debug)]
pub struct HubLimits {
    /// Connections of one user; `None`: no limit of its own.
    pub connections_per_user: Option<NonZeroUsize>,
    /// Topics, and as many streams of users and devices.
    pub topics: usize,
    /// Topics that one user made by using their names first.
    pub topics_per_user: usize,
    /// Bytes that all topics that one user made may retain together; what exceeds it is dropped
    /// from the old end of the topic that is published to. The newest message of each stays.
    pub retained_bytes_per_user: u64,
    /// Sessions of one user that were not removed.
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

/// How a terminal is started.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The program and its arguments; `$NAME` stands for an environment variable.
    pub command: Vec<String>,
    /// Where it starts, if the request does not say.
    pub cwd: Option<String>,
    /// Environment variables besides the ordinary ones.
    pub env: Vec<(String, String)>,
    /// What to do about a command that does not exist, such as "install it with `…`".
    pub install_hint: Option<String>,
}

/// What topics of a name keep.
#[derive(Clone, Debug)]
pub struct TopicRule {
    /// A name, or a prefix with `*` at its end.
    pub pattern: String,
    /// How much they keep.
    pub retention: Retention,
    /// What happens to a reader that is slow.
    pub slow_reader: SlowReaderPolicy,
}

/// What all sessions share.
#[derive(Clone, Copy, Debug)]
pub struct SessionSettings {
    /// How much history a terminal keeps.
    pub scrollback: Scrollback,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self { scrollback: Scrollback { lines: 10_000, bytes: 16 * 1024 * 1024 } }
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
