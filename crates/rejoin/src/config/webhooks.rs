//! The section `webhooks`: programs behind HTTP that receive events and answer messages.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use rejoin_gateway::{EventKind, Webhook, WebhookSecret, WebhookUrl};
use rejoin_protocol::message;
use serde::{Deserialize, Deserializer, de::Error};

use crate::config::{quantity::Interval, value};

/// Default time limit of an event delivery. No client waits for it.
const EVENTS_TIMEOUT: Duration = Duration::from_secs(10);
/// Default time limit for the answer to a message. A client waits for it.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(5);

/// The section `webhooks`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct WebhooksConfig {
    /// The webhook that receives events of these kinds.
    #[serde(deserialize_with = "events")]
    pub(crate) events: Option<(WebhookConfig, Vec<EventKind>)>,
    /// The webhooks that answer messages, by message type.
    #[serde(deserialize_with = "messages")]
    pub(crate) messages: BTreeMap<String, WebhookConfig>,
}

/// A webhook whose secret is not read yet.
#[derive(Debug)]
pub(crate) struct WebhookConfig {
    url: WebhookUrl,
    /// Relative to the data directory.
    secret_file: PathBuf,
    timeout: Duration,
}

/// The table of a webhook as it is in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with a `url` and a `secret_file`")]
struct WebhookEntry {
    url: String,
    /// Allows `http://` to another machine: its requests can be read on the way.
    #[serde(default)]
    insecure: bool,
    #[serde(deserialize_with = "value::path")]
    secret_file: PathBuf,
    timeout: Option<Interval>,
    /// Allowed in `webhooks.events` only.
    events: Option<Vec<EventKind>>,
}

impl WebhookConfig {
    /// Reads the secret and returns the webhook.
    ///
    /// # Errors
    /// If the file cannot be read or holds no secret. The error names the file.
    pub(crate) fn open(&self, data_dir: &Path) -> anyhow::Result<Webhook> {
        let path = data_dir.join(&self.secret_file);
        let secret = std::fs::read_to_string(&path);
        let secret = secret.with_context(|| format!("cannot read {}", path.display()))?;
        let secret = WebhookSecret::new(&secret).with_context(|| path.display().to_string())?;
        Ok(Webhook { url: self.url.clone(), secret, timeout: self.timeout })
    }
}

impl WebhookEntry {
    /// Checks the URL and applies the default time limit.
    fn into_config<E: Error>(self, default_timeout: Duration) -> Result<WebhookConfig, E> {
        let url = match self.insecure {
            true => WebhookUrl::unprotected(&self.url),
            false => WebhookUrl::new(&self.url),
        };
        Ok(WebhookConfig {
            url: url.map_err(E::custom)?,
            secret_file: self.secret_file,
            timeout: self.timeout.map_or(default_timeout, Interval::get),
        })
    }
}

fn events<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<(WebhookConfig, Vec<EventKind>)>, D::Error> {
    let mut entry = WebhookEntry::deserialize(deserializer)?;
    let kinds = entry.events.take().unwrap_or_else(|| EventKind::ALL.to_vec());
    Ok(Some((entry.into_config(EVENTS_TIMEOUT)?, kinds)))
}

fn messages<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, WebhookConfig>, D::Error> {
    let entries = BTreeMap::<String, WebhookEntry>::deserialize(deserializer)?;
    let webhook = |(kind, entry): (String, WebhookEntry)| {
        // The server answers built-in messages itself: such a webhook would never be called.
        if message::is_built_in(&kind) {
            let text = format!("the message type `{kind}` is built in; choose another name");
            return Err(Error::custom(text));
        }
        if entry.events.is_some() {
            let text = "`events` is allowed in `webhooks.events` only; remove it";
            return Err(Error::custom(text));
        }
        Ok((kind, entry.into_config(MESSAGE_TIMEOUT)?))
    };
    entries.into_iter().map(webhook).collect()
}
