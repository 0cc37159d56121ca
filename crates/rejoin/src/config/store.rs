//! The store of sessions, and the times for which sessions are kept.

use std::{path::Path, time::Duration};

use anyhow::anyhow;
use rejoin_adapters::StoreLocation;
use rejoin_core::IdleTimeout;
use serde::{Deserialize, Deserializer, de::Error};
use toml::Value;

use crate::config::{quantity::duration, value::parse_value};

/// Longest idle time-out. It keeps sums of instants and intervals far from an overflow.
const MAX_IDLE_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The URL of a store that ends with the server.
const IN_MEMORY: &str = "memory:";

/// The section `store`.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct StoreConfig {
    /// May contain a password. The file is relative to the data directory.
    #[serde(deserialize_with = "url")]
    url: String,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { url: "sqlite:rejoin.db".to_owned() }
    }
}

impl std::fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreConfig").finish_non_exhaustive()
    }
}

impl StoreConfig {
    /// Returns the location of the database; `None` if the store is in memory.
    ///
    /// # Errors
    /// If the URL is not that of a store.
    pub(crate) fn location(&self, data_dir: &Path) -> anyhow::Result<Option<StoreLocation>> {
        parse(&self.url, data_dir).map_err(|problem| anyhow!("`store.url`: {problem}"))
    }
}

/// Reads the URL of a store. The error does not repeat it: it may contain a password.
fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let url = String::deserialize(deserializer)?;
    parse(&url, Path::new("")).map_err(D::Error::custom)?;
    Ok(url)
}

fn parse(url: &str, data_dir: &Path) -> Result<Option<StoreLocation>, String> {
    if url == IN_MEMORY {
        return Ok(None);
    }
    let location = StoreLocation::parse(url, data_dir);
    // The last part of the problem is the list of what is allowed.
    location.map(Some).map_err(|problem| format!("{problem}, or {IN_MEMORY:?}"))
}

pub(super) fn idle_timeout<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<IdleTimeout, D::Error> {
    let problem = "is not allowed; write \"never\", or a duration from \"1s\" to \"365d\"";
    parse_value(deserializer, problem, |value| {
        if matches!(value, Value::String(text) if text == "never") {
            return Some(IdleTimeout::Never);
        }
        let is_allowed =
            |time: &Duration| (1..=MAX_IDLE_TIMEOUT.as_secs()).contains(&time.as_secs());
        duration(value).filter(is_allowed).map(IdleTimeout::After)
    })
}

pub(super) fn some_idle_timeout<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<IdleTimeout>, D::Error> {
    idle_timeout(deserializer).map(Some)
}
