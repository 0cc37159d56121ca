//! Values of the configuration, with errors that say what is allowed.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer, de::Error};

/// More lines than this would be gigabytes for one terminal.
const MAX_SCROLLBACK_LINES: usize = 1_000_000;

/// A positive number of bytes: a number, or a text such as `64KiB`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByteSize(NonZeroUsize);

/// A positive span of time: a text such as `30s`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interval(Duration);

impl ByteSize {
    pub(super) fn new(bytes: usize) -> Self {
        Self(NonZeroUsize::new(bytes).expect("a default is not zero"))
    }

    pub(crate) fn get(self) -> NonZeroUsize {
        self.0
    }
}

impl Interval {
    pub(super) fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    pub(crate) fn get(self) -> Duration {
        self.0
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = toml::Value::deserialize(deserializer)?;
        let bytes = match &value {
            toml::Value::Integer(bytes) => usize::try_from(*bytes).ok(),
            toml::Value::String(text) => parse_bytes(text),
            _ => None,
        };
        let bytes = bytes.and_then(NonZeroUsize::new).map(Self);
        bytes.ok_or_else(|| {
            Error::custom(format!("{value} is not a size; write 65536, \"64KiB\", \"1MiB\" or so"))
        })
    }
}

fn parse_bytes(text: &str) -> Option<usize> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(factor)
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = toml::Value::deserialize(deserializer)?;
        let interval = value.as_str().and_then(|text| humantime::parse_duration(text).ok());
        interval.filter(|interval| !interval.is_zero()).map(Self).ok_or_else(|| {
            Error::custom(format!("{value} is not a time; write \"500ms\", \"30s\", \"8h\" or so"))
        })
    }
}

pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        Error::custom(format!(
            "{text:?} is not an address; write \"127.0.0.1:7400\" or \"[::1]:7400\""
        ))
    })
}

pub(super) fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    Ok(expand_home(&String::deserialize(deserializer)?))
}

pub(super) fn origins<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let origins = Vec::<String>::deserialize(deserializer)?;
    for origin in &origins {
        let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        if rest.is_none_or(|rest| rest.is_empty() || rest.contains('/')) {
            let sentence = format!("{origin:?} is not an origin; write \"https://example.org\"");
            return Err(Error::custom(sentence));
        }
    }
    Ok(origins)
}

pub(super) fn command<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let command = Vec::<String>::deserialize(deserializer)?;
    if command.first().is_none_or(String::is_empty) {
        return Err(Error::custom("a command names its program; write [\"$SHELL\", \"-l\"] or so"));
    }
    Ok(command)
}

pub(super) fn scrollback<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let lines = i64::deserialize(deserializer)?;
    usize::try_from(lines).ok().filter(|lines| *lines <= MAX_SCROLLBACK_LINES).ok_or_else(|| {
        Error::custom(format!("{lines} is not allowed; write 0 to {MAX_SCROLLBACK_LINES} lines"))
    })
}

/// A path in which `~` at the beginning is the home directory.
pub(super) fn expand_home(path: &str) -> PathBuf {
    match (path.strip_prefix('~'), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
            let mut whole = home;
            whole.push(rest);
            whole.into()
        }
        _ => path.into(),
    }
}
