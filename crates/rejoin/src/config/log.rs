//! The section `log`: the level and format of log lines, and the collector of spans.

use serde::{Deserialize, Deserializer, de::Error};
use tracing_subscriber::EnvFilter;

/// The section `log`.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct LogConfig {
    pub(crate) format: LogFormat,
    /// A filter in the syntax of `REJOIN_LOG`, which takes precedence.
    #[serde(deserialize_with = "level")]
    pub(crate) level: String,
    /// URL of the collector, without the path `/v1/traces`.
    #[serde(deserialize_with = "otlp_endpoint")]
    pub(crate) otlp_endpoint: Option<String>,
}

/// The format of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::default(), level: "info".to_owned(), otlp_endpoint: None }
    }
}

fn level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let level = String::deserialize(deserializer)?;
    if EnvFilter::try_new(&level).is_err() {
        return Err(Error::custom(format!(
            "{level:?} is not a log level; write for example \"debug\" or \
             \"rejoin_gateway=debug,info\""
        )));
    }
    Ok(level)
}

fn otlp_endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let endpoint = String::deserialize(deserializer)?;
    if !cfg!(feature = "otlp") {
        let text = "this `rejoin` was built without OTLP; build it with `--features otlp`";
        return Err(Error::custom(text));
    }

    let host = endpoint.strip_prefix("http://").map(|host| host.trim_end_matches('/'));
    if host.is_none_or(|host| host.is_empty() || host.contains(['/', '@', '?', '#'])) {
        return Err(Error::custom(format!(
            "{endpoint:?} is not the URL of a collector; write for example \
             \"http://127.0.0.1:4318\" (https is not supported: for a remote collector, run \
             another one in this network that forwards to it)"
        )));
    }
    Ok(Some(endpoint.trim_end_matches('/').to_owned()))
}
