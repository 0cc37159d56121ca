//! Programs behind HTTP that are told of events, or asked for answers.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use rejoin_gateway::{EventKind, Webhook, WebhookSecret, WebhookUrl};
use rejoin_protocol::message;
use serde::{Deserialize, Deserializer, de::Error};

use super::value::{self, Interval};

/// How long a program may take that is told of events: nobody waits for it.
const EVENTS_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a program may take for an answer: its client waits.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(5);

/// The section `webhooks`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Webhooks {
    /// Who is told of events.
    #[serde(deserialize_with = "events")]
    pub(crate) events: Option<(Target, Vec<EventKind>)>,
    /// Who answers messages, by their type.
    #[serde(deserialize_with = "messages")]
    pub(crate) messages: BTreeMap<String, Target>,
}

/// A program, before its secret is read.
#[derive(Debug)]
pub(crate) struct Target {
    url: WebhookUrl,
    /// Relative to the data directory.
    secret_file: PathBuf,
    timeout: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with a `url` and a `secret_file`")]
struct Entry {
    url: String,
    /// Whether the address may be one that others on the way can read.
    #[serde(default)]
    insecure: bool,
    #[serde(deserialize_with = "value::path")]
    secret_file: PathBuf,
    timeout: Option<Interval>,
    /// Only of the program that is told of events.
    events: Option<Vec<EventKind>>,
}

impl Target {
    /// The program with its secret.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub(crate) fn open(&self, data_dir: &Path) -> anyhow::Result<Webhook> {
        let path = data_dir.join(&self.secret_file);
        let secret = std::fs::read_to_string(&path);
        let secret = secret.with_context(|| format!("cannot read {}", path.display()))?;
        let secret = WebhookSecret::new(&secret).with_context(|| path.display().to_string())?;
        Ok(Webhook { url: self.url.clone(), secret, timeout: self.timeout })
    }
}

impl Entry {
    fn target<E: Error>(&self, timeout: Duration) -> Result<Target, E> {
        let url = match self.insecure {
            true => WebhookUrl::unprotected(&self.url),
            false => WebhookUrl::new(&self.url),
        };
        Ok(Target {
            url: url.map_err(E::custom)?,
            secret_file: self.secret_file.clone(),
            timeout: self.timeout.map_or(timeout, Interval::get),
        })
    }
}

fn events<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<(Target, Vec<EventKind>)>, D::Error> {
    let mut entry = Entry::deserialize(deserializer)?;
    let target = entry.target(EVENTS_TIMEOUT)?;
    let kinds = entry.events.take().unwrap_or_else(|| EventKind::ALL.to_vec());
    Ok(Some((target, kinds)))
}

fn messages<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Target>, D::Error> {
    let entries = BTreeMap::<String, Entry>::deserialize(deserializer)?;
    let target = |(kind, entry): (String, Entry)| {
        if message::is_built_in(&kind) {
            let sentence = format!("the message type `{kind}` is built in; choose another name");
            return Err(Error::custom(sentence));
        }
        if entry.events.is_some() {
            return Err(Error::custom("`events` is a key of `webhooks.events` only"));
        }
        Ok((kind, entry.target(MESSAGE_TIMEOUT)?))
    };
    entries.into_iter().map(target).collect()
}
