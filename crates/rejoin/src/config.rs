//! The configuration: `rejoin.toml`, then `REJOIN_*`, then flags.

mod limits;
mod load;
mod log;
mod value;
mod webhooks;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::bail;
use rejoin_core::{Caps, Profile, Retention, SlowReaderPolicy, TopicRule};
use rejoin_gateway::{JwksUrl, TlsConfig, TrustedProxies};
use rejoin_protocol::ProfileName;
use serde::Deserialize;

pub(crate) use limits::Limits;
pub(crate) use load::{Overrides, load};
pub(crate) use log::{Format, Log};
use value::{ByteSize, Count, Interval, TopicPattern};
pub(crate) use webhooks::Webhooks;

/// What to do if Claude Code is not installed.
const CLAUDE_HINT: &str = "install it with `npm install -g @anthropic-ai/claude-code`, or name \
                           another command in `profiles.claude.command`";

/// Everything that can be configured.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) server: Server,
    pub(crate) auth: Auth,
    pub(crate) limits: Limits,
    /// By topic, or by prefix with `*` at its end.
    pub(crate) topics: BTreeMap<TopicPattern, Topic>,
    pub(crate) sessions: Sessions,
    /// What terminals may be started from, besides `terminal`, the login shell, and `claude`.
    pub(crate) profiles: BTreeMap<ProfileName, ProfileEntry>,
    pub(crate) log: Log,
    /// Programs behind HTTP that are told, or asked.
    pub(crate) webhooks: Webhooks,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Server {
    #[serde(deserialize_with = "value::address")]
    pub(crate) listen: SocketAddr,
    #[serde(deserialize_with = "value::path")]
    pub(crate) data_dir: PathBuf,
    /// Origins besides the server's own.
    #[serde(deserialize_with = "value::origins")]
    pub(crate) allowed_origins: Vec<String>,
    /// Names in `Host` that a server without log-in answers to, besides its own.
    #[serde(deserialize_with = "value::hosts")]
    pub(crate) allowed_hosts: Vec<String>,
    /// Relative to the data directory, both.
    #[serde(deserialize_with = "value::optional_path")]
    tls_certificate_file: Option<PathBuf>,
    #[serde(deserialize_with = "value::optional_path")]
    tls_key_file: Option<PathBuf>,
    #[serde(deserialize_with = "value::proxies")]
    pub(crate) trusted_proxies: TrustedProxies,
    /// With a slash at both ends.
    #[serde(deserialize_with = "value::base_path")]
    pub(crate) base_path: String,
    pub(crate) public_metrics: bool,
    /// Whether messages are compressed for clients that offer it.
    pub(crate) compression: bool,
    /// How long a stopping server still accepts, while it says that it is not ready.
    #[serde(deserialize_with = "value::drain_delay")]
    pub(crate) drain_delay: Duration,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Auth {
    pub(crate) required: bool,
    /// Relative to the data directory. Without it the server makes its own secret.
    #[serde(deserialize_with = "value::optional_path")]
    pub(crate) hs256_secret_file: Option<PathBuf>,
    /// Relative to the data directory: PEM, or a JWK set.
    #[serde(deserialize_with = "value::optional_path")]
    pub(crate) public_key_file: Option<PathBuf>,
    #[serde(deserialize_with = "value::jwks_url")]
    pub(crate) jwks_url: Option<JwksUrl>,
    /// How far the clocks of issuer and server may differ.
    #[serde(deserialize_with = "value::leeway")]
    pub(crate) leeway: Duration,
    pub(crate) issuer: Option<String>,
    pub(crate) audience: Option<String>,
    /// What a token without `caps` allows.
    pub(crate) default_caps: Option<Caps>,
    /// Whether sockets take a token in their address.
    pub(crate) token_in_url: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Topic {
    pub(crate) retain: Retain,
    #[serde(deserialize_with = "value::slow_reader")]
    pub(crate) slow_reader: SlowReaderPolicy,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table such as { frames = 256 }")]
pub(crate) struct Retain {
    pub(crate) frames: Option<Count>,
    pub(crate) bytes: Option<ByteSize>,
    pub(crate) age: Option<Interval>,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Sessions {
    #[serde(deserialize_with = "value::scrollback")]
    pub(crate) scrollback_lines: usize,
    #[serde(deserialize_with = "value::scrollback_bytes")]
    pub(crate) scrollback_bytes: usize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with a `command`")]
pub(crate) struct ProfileEntry {
    #[serde(deserialize_with = "value::command")]
    command: Vec<String>,
    #[serde(default)]
    cwd: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// What is said to who starts it while its command does not exist.
    #[serde(default, deserialize_with = "value::hint")]
    install_hint: Option<String>,
}

impl Default for Server {
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

impl Default for Auth {
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

impl Default for Sessions {
    fn default() -> Self {
        Self { scrollback_lines: 10_000, scrollback_bytes: 16 * 1024 * 1024 }
    }
}

impl Auth {
    /// The keys of the configuration by which tokens are verified; one is right, none means the
    /// server's own secret.
    pub(crate) fn sources(&self) -> Vec<&'static str> {
        let sources = [
            ("auth.hs256_secret_file", self.hs256_secret_file.is_some()),
            ("auth.public_key_file", self.public_key_file.is_some()),
            ("auth.jwks_url", self.jwks_url.is_some()),
        ];
        sources.into_iter().filter_map(|(name, there)| there.then_some(name)).collect()
    }
}

impl Server {
    /// The certificate and its key, if the server speaks TLS.
    ///
    /// # Errors
    /// If there is one without the other.
    pub(crate) fn tls(&self) -> anyhow::Result<Option<TlsConfig>> {
        match (&self.tls_certificate_file, &self.tls_key_file) {
            (Some(certificate), Some(key)) => Ok(Some(TlsConfig {
                certificate_file: self.data_dir.join(certificate),
                key_file: self.data_dir.join(key),
            })),
            (None, None) => Ok(None),
            _ => bail!("set both `server.tls_certificate_file` and `server.tls_key_file`, or none"),
        }
    }

    /// Where its pages are, without a slash at the end.
    pub(crate) fn url(&self, address: SocketAddr) -> String {
        let scheme = if self.tls_certificate_file.is_some() { "https" } else { "http" };
        format!("{scheme}://{address}{}", self.base_path.trim_end_matches('/'))
    }
}

impl Config {
    /// What a log-in allows that names no rights.
    ///
    /// A terminal is this server's user. Tokens that this server did not sign, and people who need
    /// none, get terminals only where the configuration says so.
    pub(crate) fn default_caps(&self) -> Caps {
        let own_tokens = self.auth.required && self.auth.sources().is_empty();
        let default = if own_tokens { Caps::user() } else { Caps::topics() };
        self.auth.default_caps.clone().unwrap_or(default)
    }

    /// The profiles: those of the configuration, the login shell and Claude Code.
    pub(crate) fn profiles(&self) -> BTreeMap<ProfileName, Profile> {
        let mut profiles: BTreeMap<_, _> = self
            .profiles
            .iter()
            .map(|(name, entry)| {
                let ProfileEntry { command, cwd, env, install_hint } = entry.clone();
                let env = env.into_iter().collect();
                (name.clone(), Profile { command, cwd, env, install_hint })
            })
            .collect();
        let defaults: [(&str, &[&str], Option<&str>); 2] =
            [("terminal", &["$SHELL", "-l"], None), ("claude", &["claude"], Some(CLAUDE_HINT))];
        for (name, command, hint) in defaults {
            let name = ProfileName::new(name).expect("a valid name");
            profiles.entry(name).or_insert_with(|| Profile {
                command: command.iter().copied().map(str::to_owned).collect(),
                cwd: None,
                env: Vec::new(),
                install_hint: hint.map(str::to_owned),
            });
        }
        profiles
    }

    /// The rules for topics, the longest pattern first: the most special one counts.
    pub(crate) fn topic_rules(&self) -> Vec<TopicRule> {
        let default = Retention::default();
        let rule = |(pattern, topic): (&TopicPattern, &Topic)| TopicRule {
            pattern: pattern.as_str().to_owned(),
            retention: Retention {
                frames: topic.retain.frames.map_or(default.frames, Count::get),
                bytes: topic.retain.bytes.map_or(default.bytes, ByteSize::get),
                age: topic.retain.age.map_or(default.age, |age| Some(age.get())),
            },
            slow_reader: topic.slow_reader,
        };
        let mut rules: Vec<_> = self.topics.iter().map(rule).collect();
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.pattern.len()));
        rules
    }
}
