//! Paths, commands and topic patterns of the configuration, and the check that all values share.

use std::path::PathBuf;

use rejoin_core::SlowReaderPolicy;
use rejoin_protocol::TopicName;
use serde::{Deserialize, Deserializer, de::Error};
use toml::Value;

/// Longest install hint, in bytes. It is part of an error, which is bounded as well.
const MAX_HINT_BYTES: usize = 500;

/// A topic name, a prefix with `*` at its end, or `*` for all topics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TopicPattern(String);

impl TopicPattern {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for TopicPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // A prefix follows the rules of a name; `*` alone has an empty prefix.
        let name = text.strip_suffix('*').unwrap_or(&text);
        if text != "*"
            && let Err(error) = TopicName::new(name)
        {
            return Err(Error::custom(format!(
                "{text:?} is not a topic, nor a prefix with `*` at its end: {error}"
            )));
        }
        Ok(Self(text))
    }
}

/// Parses a value. The error is the value followed by `problem`.
///
/// # Errors
/// If `parse` returns `None`.
pub(super) fn parse_value<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    problem: &str,
    parse: impl FnOnce(&Value) -> Option<T>,
) -> Result<T, D::Error> {
    let value = Value::deserialize(deserializer)?;
    parse(&value).ok_or_else(|| Error::custom(format!("{value} {problem}")))
}

/// Returns the strings of an array, or `None` if the value is anything else.
pub(super) fn strings(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

pub(super) fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    Ok(expand_home(&String::deserialize(deserializer)?))
}

pub(super) fn optional_path<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<PathBuf>, D::Error> {
    path(deserializer).map(Some)
}

/// Replaces `~` at the beginning of a path by `$HOME`. Without `$HOME` the path keeps its `~`.
pub(super) fn expand_home(path: &str) -> PathBuf {
    match (path.strip_prefix('~'), std::env::var_os("HOME")) {
        (Some(rest), Some(mut home)) if rest.is_empty() || rest.starts_with('/') => {
            home.push(rest);
            home.into()
        }
        _ => path.into(),
    }
}

/// Parses a command: a program and its arguments.
pub(super) fn command<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let problem = "is not a list of a program and its arguments; write for example [\"$SHELL\", \
                   \"-l\"]";
    parse_value(deserializer, problem, |value| {
        strings(value).filter(|words| words.first().is_some_and(|program| !program.is_empty()))
    })
}

pub(super) fn install_hint<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let problem = format!("is not a hint; write 1 to {MAX_HINT_BYTES} bytes on one line");
    parse_value(deserializer, &problem, |value| {
        let hint = value.as_str()?;
        // A control character could forge lines where the error is shown.
        let is_allowed =
            (1..=MAX_HINT_BYTES).contains(&hint.len()) && !hint.contains(char::is_control);
        is_allowed.then(|| Some(hint.to_owned()))
    })
}

pub(super) fn slow_reader<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<SlowReaderPolicy, D::Error> {
    let problem = "is not allowed; write \"catch-up\", \"latest\" or \"disconnect\"";
    parse_value(deserializer, problem, |value| match value.as_str()? {
        "catch-up" => Some(SlowReaderPolicy::CatchUp),
        "latest" => Some(SlowReaderPolicy::Latest),
        "disconnect" => Some(SlowReaderPolicy::Disconnect),
        _ => None,
    })
}
