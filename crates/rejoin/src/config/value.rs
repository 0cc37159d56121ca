//! Values of the configuration, with errors that say what is allowed.

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use rejoin_core::SlowReaderPolicy;
use rejoin_gateway::{JwksUrl, TrustedProxies};
use rejoin_protocol::TopicName;
use serde::{Deserialize, Deserializer, de::Error};
use toml::Value;

/// More lines than this would be gigabytes for one terminal.
const MAX_SCROLLBACK_LINES: usize = 1_000_000;
/// Fewer would not hold the longest line; more would be the memory of a machine.
const SCROLLBACK_BYTES: RangeInclusive<usize> = 64 * 1024..=1024 * 1024 * 1024;
/// More than one machine has sockets or frames for.
const MAX_COUNT: usize = 10_000_000;
/// A shorter heartbeat would close clients that answer over an ordinary network.
const MIN_HEARTBEAT: Duration = Duration::from_millis(100);
/// The longest name of a host (RFC 1035 §2.3.4).
const MAX_HOST_BYTES: usize = 253;
/// What says how to install a command, in bytes; it is part of an error.
const MAX_HINT_BYTES: usize = 500;
/// Nobody waits longer; sums of instants and intervals stay far from their end.
const MAX_INTERVAL: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Clocks that differ by more are wrong, and each second of it lengthens each token.
const MAX_LEEWAY: Duration = Duration::from_secs(5 * 60);

/// Longer, and nobody would believe that somebody is there.
const MAX_GRACE: Duration = Duration::from_secs(60 * 60);

/// Longer than any load balancer looks for a failing server.
const MAX_DRAIN_DELAY: Duration = Duration::from_secs(10 * 60);

/// A positive number of things.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count(NonZeroUsize);

/// At most so many; 0: no limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit(Option<NonZeroU32>);

/// A positive number of bytes: a number, or a text such as `64KiB`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByteSize(NonZeroUsize);

/// A positive span of time: a text such as `30s`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interval(Duration);

/// Which topics a rule is for: a name, or a prefix with `*` at its end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TopicPattern(String);

impl Count {
    pub(super) fn new(count: usize) -> Self {
        Self(NonZeroUsize::new(count).expect("a default is not zero"))
    }

    pub(crate) fn get(self) -> NonZeroUsize {
        self.0
    }
}

impl Limit {
    pub(super) fn new(count: u32) -> Self {
        Self(NonZeroU32::new(count))
    }

    pub(crate) fn get(self) -> Option<NonZeroU32> {
        self.0
    }
}

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

impl TopicPattern {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let count = value.as_integer().and_then(|count| usize::try_from(count).ok());
        let count = count.filter(|count| *count <= MAX_COUNT).and_then(NonZeroUsize::new);
        count.map(Self).ok_or_else(|| {
            Error::custom(format!("{value} is not allowed; write a number from 1 to {MAX_COUNT}"))
        })
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let count = value.as_integer().and_then(|count| u32::try_from(count).ok());
        let count = count.filter(|count| usize::try_from(*count).is_ok_and(|n| n <= MAX_COUNT));
        count.map(Self::new).ok_or_else(|| {
            let allowed = format!("write 0 for no limit, or a number to {MAX_COUNT}");
            Error::custom(format!("{value} is not allowed; {allowed}"))
        })
    }
}

impl<'de> Deserialize<'de> for TopicPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let name = text.strip_suffix('*').unwrap_or(&text);
        // `*` alone is for all topics.
        if text != "*"
            && let Err(error) = TopicName::new(name)
        {
            let sentence =
                format!("{text:?} matches no topic: {error}, with or without a `*` at the end");
            return Err(Error::custom(sentence));
        }
        Ok(Self(text))
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let bytes = match &value {
            Value::Integer(bytes) => usize::try_from(*bytes).ok(),
            Value::String(text) => parse_bytes(text),
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
        let value = Value::deserialize(deserializer)?;
        let interval = value.as_str().and_then(|text| humantime::parse_duration(text).ok());
        let Some(interval) = interval.filter(|interval| !interval.is_zero()) else {
            let sentence = format!("{value} is not a time; write \"500ms\", \"30s\", \"8h\" or so");
            return Err(Error::custom(sentence));
        };
        if interval > MAX_INTERVAL {
            return Err(Error::custom(format!("{value} is too long; write at most \"365d\"")));
        }
        Ok(Self(interval))
    }
}

pub(super) fn heartbeat<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Interval, D::Error> {
    let heartbeat = Interval::deserialize(deserializer)?;
    if heartbeat.get() < MIN_HEARTBEAT {
        let heartbeat = humantime::format_duration(heartbeat.get());
        let sentence = format!("a heartbeat of {heartbeat} is too short; write at least \"100ms\"");
        return Err(Error::custom(sentence));
    }
    Ok(heartbeat)
}

pub(super) fn grace<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let grace = value.as_str().and_then(|text| humantime::parse_duration(text).ok());
    grace
        .filter(|grace| *grace <= MAX_GRACE)
        .ok_or_else(|| Error::custom(format!("{value} is not allowed; write \"0s\" to \"1h\"")))
}

pub(super) fn drain_delay<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let delay = value.as_str().and_then(|text| humantime::parse_duration(text).ok());
    delay
        .filter(|delay| *delay <= MAX_DRAIN_DELAY)
        .ok_or_else(|| Error::custom(format!("{value} is not allowed; write \"0s\" to \"10m\"")))
}

pub(super) fn base_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let path = String::deserialize(deserializer)?;
    let parts = path.trim_matches('/');
    // What needs no encoding, in addresses and in pages, and means nothing to them.
    let is_plain = |part: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        !part.is_empty() && part.bytes().all(plain) && part.bytes().any(|byte| byte != b'.')
    };
    match path.starts_with('/') {
        true if parts.is_empty() => Ok("/".to_owned()),
        true if parts.split('/').all(is_plain) => Ok(format!("/{parts}/")),
        _ => Err(Error::custom(format!(
            "{path:?} is not a path; write \"/\" or \"/rejoin/\", of letters, digits and `-._~`"
        ))),
    }
}

pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let value = Value::deserialize(deserializer)?;
    value.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
        Error::custom(format!(
            "{value} is not an address; write \"127.0.0.1:7400\" or \"[::1]:7400\""
        ))
    })
}

pub(super) fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    Ok(expand_home(&String::deserialize(deserializer)?))
}

pub(super) fn optional_path<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<PathBuf>, D::Error> {
    path(deserializer).map(Some)
}

pub(super) fn jwks_url<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<JwksUrl>, D::Error> {
    let url = String::deserialize(deserializer)?;
    JwksUrl::new(&url).map(Some).map_err(Error::custom)
}

pub(super) fn leeway<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let leeway = value.as_str().and_then(|text| humantime::parse_duration(text).ok());
    leeway.filter(|leeway| *leeway <= MAX_LEEWAY && leeway.subsec_nanos() == 0).ok_or_else(|| {
        Error::custom(format!("{value} is not allowed; write whole seconds from \"0s\" to \"5m\""))
    })
}

pub(super) fn origins<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let origins = texts(&value).filter(|origins| origins.iter().all(|origin| is_origin(origin)));
    origins.ok_or_else(|| {
        Error::custom(format!("{value} is not a list of origins; write [\"https://example.org\"]"))
    })
}

pub(super) fn hosts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let hosts = texts(&value).filter(|hosts| hosts.iter().all(|host| is_host(host)));
    hosts.ok_or_else(|| {
        let allowed = "write names without scheme and port, such as [\"rejoin.example.org\"]";
        Error::custom(format!("{value} is not a list of hosts; {allowed}"))
    })
}

pub(super) fn proxies<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<TrustedProxies, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let proxies = texts(&value).ok_or_else(|| {
        let allowed = "write [\"127.0.0.1\", \"10.0.0.0/8\"] or so";
        Error::custom(format!("{value} is not a list of addresses and networks; {allowed}"))
    })?;
    TrustedProxies::new(proxies.iter().map(String::as_str)).map_err(Error::custom)
}

fn is_host(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !text.is_empty() && text.len() <= MAX_HOST_BYTES && text.bytes().all(is_plain)
}

fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| !host.is_empty() && !host.contains('/'))
}

pub(super) fn command<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let command = texts(&value).filter(|words| words.first().is_some_and(|word| !word.is_empty()));
    command.ok_or_else(|| {
        Error::custom(format!(
            "{value} is not a program and its arguments; write [\"$SHELL\", \"-l\"] or so"
        ))
    })
}

pub(super) fn hint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let is_sentence = |text: &&str| {
        (1..=MAX_HINT_BYTES).contains(&text.len()) && !text.contains(char::is_control)
    };
    let hint = value.as_str().filter(is_sentence).map(|hint| Some(hint.to_owned()));
    hint.ok_or_else(|| {
        Error::custom(format!(
            "{value} is not a hint; write 1 to {MAX_HINT_BYTES} bytes on one line"
        ))
    })
}

/// The texts of a list of nothing else.
fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|word| word.as_str().map(str::to_owned)).collect()
}

pub(super) fn scrollback<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let lines = value.as_integer().and_then(|lines| usize::try_from(lines).ok());
    lines.filter(|lines| *lines <= MAX_SCROLLBACK_LINES).ok_or_else(|| {
        Error::custom(format!("{value} is not allowed; write 0 to {MAX_SCROLLBACK_LINES} lines"))
    })
}

pub(super) fn scrollback_bytes<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<usize, D::Error> {
    let bytes = ByteSize::deserialize(deserializer)?.get().get();
    if SCROLLBACK_BYTES.contains(&bytes) {
        return Ok(bytes);
    }
    Err(Error::custom(format!("{bytes} bytes are not allowed; write \"64KiB\" to \"1GiB\"")))
}

/// What a slow reader of a topic gets.
pub(super) fn slow_reader<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<SlowReaderPolicy, D::Error> {
    let value = Value::deserialize(deserializer)?;
    match value.as_str() {
        Some("catch-up") => Ok(SlowReaderPolicy::CatchUp),
        Some("latest") => Ok(SlowReaderPolicy::Latest),
        Some("disconnect") => Ok(SlowReaderPolicy::Disconnect),
        _ => Err(Error::custom(format!(
            "{value} is not allowed; write \"catch-up\", \"latest\" or \"disconnect\""
        ))),
    }
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
