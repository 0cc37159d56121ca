//! The configuration: `rejoin.toml`, then `REJOIN_*`, then flags.

mod limits;
mod load;
mod log;
mod network;
mod quantity;
mod store;
mod value;
mod webhooks;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use rejoin_core::{
    Caps, Durability, IdleTimeout, Profile, Retention, SessionSettings, SlowReaderPolicy, TopicRule,
};
use rejoin_gateway::{JwksUrl, TlsConfig, TrustedProxies};
use rejoin_keeper::{LimitedGroups, Limits};
use rejoin_protocol::ProfileName;
use serde::Deserialize;

pub(crate) use limits::LimitsConfig;
pub(crate) use load::{Overrides, load};
pub(crate) use log::{LogConfig, LogFormat};
use quantity::{ByteSize, Count, Interval};
pub(crate) use store::StoreConfig;
use value::TopicPattern;
pub(crate) use webhooks::WebhooksConfig;

/// Appended to the error of the profile `claude` if its command is not installed.
const CLAUDE_HINT: &str = "install it with `npm install -g @anthropic-ai/claude-code`, or name \
                           another command in `profiles.claude.command`";

/// The configuration of the server, one field per section.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) server: ServerConfig,
    pub(crate) auth: AuthConfig,
    pub(crate) limits: LimitsConfig,
    /// Rules by topic name, or by prefix with `*` at its end.
    pub(crate) topics: BTreeMap<TopicPattern, TopicConfig>,
    pub(crate) emits: EmitsConfig,
    pub(crate) sessions: SessionsConfig,
    pub(crate) store: StoreConfig,
    /// Profiles in addition to `terminal` and `claude`, or in place of them.
    pub(crate) profiles: BTreeMap<ProfileName, ProfileConfig>,
    pub(crate) log: LogConfig,
    pub(crate) webhooks: WebhooksConfig,
}

/// The section `server`.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct ServerConfig {
    #[serde(deserialize_with = "network::address")]
    pub(crate) listen: SocketAddr,
    #[serde(deserialize_with = "value::path")]
    pub(crate) data_dir: PathBuf,
    /// Origins allowed in addition to the server's own.
    #[serde(deserialize_with = "network::origins")]
    pub(crate) allowed_origins: Vec<String>,
    /// Values of `Host` that a server without log-in accepts in addition to its own address.
    #[serde(deserialize_with = "network::hosts")]
    pub(crate) allowed_hosts: Vec<String>,
    /// Relative to the data directory.
    #[serde(deserialize_with = "value::optional_path")]
    tls_certificate_file: Option<PathBuf>,
    /// Relative to the data directory.
    #[serde(deserialize_with = "value::optional_path")]
    tls_key_file: Option<PathBuf>,
    #[serde(deserialize_with = "network::proxies")]
    pub(crate) trusted_proxies: TrustedProxies,
    /// Starts and ends with a slash.
    #[serde(deserialize_with = "network::base_path")]
    pub(crate) base_path: String,
    /// Serves `/metrics` without authentication.
    pub(crate) public_metrics: bool,
    /// Compresses messages for clients that offer it.
    pub(crate) compression: bool,
    /// Time between the failing readiness check and the stop.
    #[serde(deserialize_with = "quantity::drain_delay")]
    pub(crate) drain_delay: Duration,
}

/// The section `auth`. At most one key is set; without one the server creates its own secret.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct AuthConfig {
    pub(crate) required: bool,
    /// Relative to the data directory.
    #[serde(deserialize_with = "value::optional_path")]
    pub(crate) hs256_secret_file: Option<PathBuf>,
    /// Relative to the data directory. The file is PEM or a JWK set.
    #[serde(deserialize_with = "value::optional_path")]
    pub(crate) public_key_file: Option<PathBuf>,
    #[serde(deserialize_with = "network::jwks_url")]
    pub(crate) jwks_url: Option<JwksUrl>,
    /// Accepted difference between the clocks of issuer and server.
    #[serde(deserialize_with = "quantity::leeway")]
    pub(crate) leeway: Duration,
    pub(crate) issuer: Option<String>,
    pub(crate) audience: Option<String>,
    /// Rights of a token without `caps`.
    pub(crate) default_caps: Option<Caps>,
    /// Accepts a token in the query of a WebSocket URL.
    pub(crate) token_in_url: bool,
}

/// The rule for the topics of one pattern.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct TopicConfig {
    pub(crate) retain: RetainConfig,
    #[serde(deserialize_with = "value::slow_reader")]
    pub(crate) slow_reader: SlowReaderPolicy,
    /// Messages are on disk before they are acknowledged.
    pub(crate) durable: bool,
}

/// The section `emits`: events for everyone, for users and for devices.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct EmitsConfig {
    /// Events are on disk before their emit is acknowledged.
    durable: bool,
}

/// The retention of a topic. The bound that is reached first drops the oldest frames.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table such as { frames = 256 }")]
pub(crate) struct RetainConfig {
    pub(crate) frames: Option<Count>,
    pub(crate) bytes: Option<ByteSize>,
    pub(crate) age: Option<Interval>,
}

/// The section `sessions`: the history of each terminal, the time that it is kept, and the limits of
/// its program.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct SessionsConfig {
    #[serde(deserialize_with = "quantity::scrollback_lines")]
    pub(crate) scrollback_lines: usize,
    #[serde(deserialize_with = "quantity::scrollback_bytes")]
    pub(crate) scrollback_bytes: usize,
    /// Time without connections after which a session ends.
    #[serde(deserialize_with = "store::idle_timeout")]
    pub(crate) idle_timeout: IdleTimeout,
    /// Time for which an ended session is kept.
    pub(crate) retention: Interval,
    /// Output of a terminal that is kept on disk.
    #[serde(deserialize_with = "quantity::log_bytes")]
    pub(crate) log_bytes: u64,
    /// Memory of each terminal's program and its descendants.
    #[serde(deserialize_with = "quantity::memory_max")]
    memory_max: Option<u64>,
    /// Processes and threads of each terminal's program.
    tasks_max: Option<Count>,
}

/// A command that sessions may be started with.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with a `command`")]
pub(crate) struct ProfileConfig {
    #[serde(deserialize_with = "value::command")]
    command: Vec<String>,
    #[serde(default)]
    cwd: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Appended to the error of a start whose command does not exist.
    #[serde(default, deserialize_with = "value::install_hint")]
    install_hint: Option<String>,
    /// Time without connections after which a session of the profile ends.
    #[serde(default, deserialize_with = "store::some_idle_timeout")]
    idle_timeout: Option<IdleTimeout>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7400)),
            data_dir: value::expand_home("~/.local/share/rejoin"),
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            tls_certificate_file: None,
            tls_key_file: None,
            trusted_proxies: TrustedProxies::default(),
            base_path: "/".to_owned(),
            public_metrics: false,
            compression: true,
            drain_delay: Duration::ZERO,
        }
    }
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            required: true,
            hs256_secret_file: None,
            public_key_file: None,
            jwks_url: None,
            leeway: Duration::from_secs(10),
            issuer: None,
            audience: None,
            default_caps: None,
            token_in_url: false,
        }
    }
}

impl Default for EmitsConfig {
    fn default() -> Self {
        Self { durable: true }
    }
}

impl EmitsConfig {
    pub(crate) fn durability(&self) -> Durability {
        durability(self.durable)
    }
}

impl Default for SessionsConfig {
    fn default() -> Self {
        let SessionSettings { scrollback, idle_timeout, retention } = SessionSettings::default();
        Self {
            scrollback_lines: scrollback.lines,
            scrollback_bytes: scrollback.bytes,
            idle_timeout,
            retention: Interval::from_secs(retention.as_secs()),
            log_bytes: 8 * 1024 * 1024,
            memory_max: None,
            tasks_max: None,
        }
    }
}

impl SessionsConfig {
    /// Prepares the control groups that limit the programs. Returns `None` without a limit.
    ///
    /// # Errors
    /// If the system cannot enforce a limit.
    pub(crate) fn limited_groups(&self) -> anyhow::Result<Option<LimitedGroups>> {
        let tasks_max = self.tasks_max.map(|count| count.get().get() as u64);
        let limits = Limits { memory_max: self.memory_max, tasks_max };
        LimitedGroups::open(limits).context(
            "`sessions.memory_max` and `sessions.tasks_max` need a control group for each \
             terminal",
        )
    }
}

impl AuthConfig {
    /// Returns the names of the keys that are set. A valid configuration has at most one; none
    /// means the server's own secret.
    pub(crate) fn key_settings(&self) -> Vec<&'static str> {
        let settings = [
            ("auth.hs256_secret_file", self.hs256_secret_file.is_some()),
            ("auth.public_key_file", self.public_key_file.is_some()),
            ("auth.jwks_url", self.jwks_url.is_some()),
        ];
        settings.into_iter().filter_map(|(name, is_set)| is_set.then_some(name)).collect()
    }
}

impl ServerConfig {
    /// Returns the paths of the certificate and its key, or `None` without TLS.
    ///
    /// # Errors
    /// If only one of them is set.
    pub(crate) fn tls(&self) -> anyhow::Result<Option<TlsConfig>> {
        match (&self.tls_certificate_file, &self.tls_key_file) {
            (Some(certificate), Some(key)) => Ok(Some(TlsConfig {
                certificate_file: self.data_dir.join(certificate),
                key_file: self.data_dir.join(key),
            })),
            (None, None) => Ok(None),
            _ => bail!(
                "set both `server.tls_certificate_file` and `server.tls_key_file`, or neither"
            ),
        }
    }

    /// Returns the URL of the pages, without a slash at the end.
    pub(crate) fn url(&self, address: SocketAddr) -> String {
        let scheme = if self.tls_certificate_file.is_some() { "https" } else { "http" };
        format!("{scheme}://{address}{}", self.base_path.trim_end_matches('/'))
    }
}

impl Config {
    /// Returns the rights of a token without `caps`.
    ///
    /// A terminal runs as the server's own user. Without a setting, only tokens that this server
    /// signed may open one: tokens of an issuer, and clients without log-in, get topics only.
    pub(crate) fn default_caps(&self) -> Caps {
        let signs_tokens = self.auth.required && self.auth.key_settings().is_empty();
        let default = if signs_tokens { Caps::user() } else { Caps::topics() };
        self.auth.default_caps.clone().unwrap_or(default)
    }

    /// Returns the configured profiles, and the defaults `terminal` and `claude` if their names
    /// are free.
    pub(crate) fn profiles(&self) -> BTreeMap<ProfileName, Profile> {
        let mut profiles: BTreeMap<_, _> = self
            .profiles
            .iter()
            .map(|(name, entry)| {
                let ProfileConfig { command, cwd, env, install_hint, idle_timeout } = entry.clone();
                let env = env.into_iter().collect();
                (name.clone(), Profile { command, cwd, env, install_hint, idle_timeout })
            })
            .collect();

        // The session expands `$SHELL` at its start.
        let defaults: [(&str, &[&str], Option<&str>); 2] =
            [("terminal", &["$SHELL", "-l"], None), ("claude", &["claude"], Some(CLAUDE_HINT))];
        for (name, command, hint) in defaults {
            let name = ProfileName::new(name).expect("a valid name");
            profiles.entry(name).or_insert_with(|| Profile {
                command: command.iter().copied().map(str::to_owned).collect(),
                install_hint: hint.map(str::to_owned),
                ..Profile::default()
            });
        }
        profiles
    }

    /// Returns the rules for topics, the longest pattern first: the first match applies.
    pub(crate) fn topic_rules(&self) -> Vec<TopicRule> {
        let default = Retention::default();
        let rule = |(pattern, topic): (&TopicPattern, &TopicConfig)| TopicRule {
            pattern: pattern.as_str().to_owned(),
            retention: Retention {
                frames: topic.retain.frames.map_or(default.frames, Count::get),
                bytes: topic.retain.bytes.map_or(default.bytes, ByteSize::get),
                age: topic.retain.age.map_or(default.age, |age| Some(age.get())),
            },
            slow_reader: topic.slow_reader,
            durability: durability(topic.durable),
        };

        let mut rules: Vec<_> = self.topics.iter().map(rule).collect();
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.pattern.len()));
        rules
    }
}

fn durability(durable: bool) -> Durability {
    if durable { Durability::Journal } else { Durability::Memory }
}
