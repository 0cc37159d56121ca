//! What is logged, how it looks, and where spans go.

use serde::{Deserialize, Deserializer, de::Error};
use tracing_subscriber::EnvFilter;

/// The section `log`.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Log {
    pub(crate) format: Format,
    /// As `REJOIN_LOG`, which wins.
    #[serde(deserialize_with = "level")]
    pub(crate) level: String,
    /// Where spans are sent to.
    #[serde(deserialize_with = "otlp_endpoint")]
    pub(crate) otlp_endpoint: Option<String>,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: Format::default(), level: "info".to_owned(), otlp_endpoint: None }
    }
}

fn level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let level = String::deserialize(deserializer)?;
    if EnvFilter::try_new(&level).is_err() {
        let sentence =
            format!("{level:?} is no level; write \"debug\", or \"rejoin_gateway=debug,info\"");
        return Err(Error::custom(sentence));
    }
    Ok(level)
}

fn otlp_endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let endpoint = String::deserialize(deserializer)?;
    if !cfg!(feature = "otlp") {
        let sentence = "this `rejoin` was built without OTLP; build it with `--features otlp`";
        return Err(Error::custom(sentence));
    }
    let host = endpoint.strip_prefix("http://").map(|host| host.trim_end_matches('/'));
    if host.is_none_or(|host| host.is_empty() || host.contains(['/', '@', '?', '#'])) {
        let sentence = format!(
            "{endpoint:?} is not a collector's address; write \"http://127.0.0.1:4318\" \
             (one beyond this network is reached through a collector in it)"
        );
        return Err(Error::custom(sentence));
    }
    Ok(Some(endpoint.trim_end_matches('/').to_owned()))
}
