//! Counts, sizes and durations of the configuration, and their ranges.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    ops::RangeInclusive,
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::Error};
use toml::Value;

use crate::config::value::parse_value;

/// Largest count: more than one machine has sockets or frames for.
const MAX_COUNT: usize = 10_000_000;
/// Largest interval. It keeps sums of instants and intervals far from an overflow.
const MAX_INTERVAL: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Shortest heartbeat: a shorter one closes responsive clients on an ordinary network.
const MIN_HEARTBEAT: Duration = Duration::from_millis(100);
/// Longest presence grace: after a longer one, presence no longer describes the present.
const MAX_PRESENCE_GRACE: Duration = Duration::from_secs(60 * 60);
/// Longest drain delay: load balancers detect a failing server sooner.
const MAX_DRAIN_DELAY: Duration = Duration::from_secs(10 * 60);
/// Largest leeway: it extends the life of each token, and better clocks differ by less.
const MAX_LEEWAY: Duration = Duration::from_secs(5 * 60);
/// Most lines of history: more would take gigabytes per terminal.
const MAX_SCROLLBACK_LINES: usize = 1_000_000;
/// Bytes of history. The minimum holds the longest line.
const SCROLLBACK_BYTES: RangeInclusive<usize> = 64 * 1024..=1024 * 1024 * 1024;

/// Bytes of a terminal's log. The minimum holds what clients may resume from.
const LOG_BYTES: RangeInclusive<u64> = 1024 * 1024..=1024 * 1024 * 1024;
/// Smallest limit of a program's memory: a shell starts with it.
const MIN_MEMORY_BYTES: u64 = 4 * 1024 * 1024;

/// A count from 1 to [`MAX_COUNT`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count(NonZeroUsize);

/// A count from 1 to [`MAX_COUNT`], or 0 for no limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OptionalCount(Option<NonZeroU32>);

/// A positive number of bytes: an integer, or a string such as `64KiB`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByteSize(NonZeroUsize);

/// A positive duration up to [`MAX_INTERVAL`]: a string such as `30s`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interval(Duration);

impl Count {
    pub(super) fn new(count: usize) -> Self {
        Self(NonZeroUsize::new(count).expect("a default is not zero"))
    }

    pub(crate) fn get(self) -> NonZeroUsize {
        self.0
    }
}

impl OptionalCount {
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

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let problem = format!("is not allowed; write a number from 1 to {MAX_COUNT}");
        parse_value(deserializer, &problem, |value| {
            integer_up_to(value, MAX_COUNT).and_then(NonZeroUsize::new).map(Self)
        })
    }
}

impl<'de> Deserialize<'de> for OptionalCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let problem =
            format!("is not allowed; write 0 for no limit, or a number from 1 to {MAX_COUNT}");
        parse_value(deserializer, &problem, |value| {
            integer_up_to(value, MAX_COUNT).and_then(|count| count.try_into().ok()).map(Self::new)
        })
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let problem = "is not a size; write for example 65536, \"64KiB\" or \"1MiB\"";
        parse_value(deserializer, problem, |value| {
            let bytes = match value {
                Value::Integer(bytes) => usize::try_from(*bytes).ok(),
                Value::String(text) => {
                    let size = text.parse::<bytesize::ByteSize>().ok()?;
                    usize::try_from(size.as_u64()).ok()
                }
                _ => None,
            };
            bytes.and_then(NonZeroUsize::new).map(Self)
        })
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let problem = "is not a duration; write for example \"500ms\", \"30s\" or \"8h\", and at \
                       most \"365d\"";
        parse_value(deserializer, problem, |value| {
            let is_allowed = |interval: &Duration| !interval.is_zero() && *interval <= MAX_INTERVAL;
            duration(value).filter(is_allowed).map(Self)
        })
    }
}

pub(super) fn heartbeat<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Interval, D::Error> {
    let heartbeat = Interval::deserialize(deserializer)?;
    if heartbeat.get() < MIN_HEARTBEAT {
        let heartbeat = humantime::format_duration(heartbeat.get());
        let text = format!("a heartbeat of {heartbeat} is too short; write at least \"100ms\"");
        return Err(Error::custom(text));
    }
    Ok(heartbeat)
}

pub(super) fn presence_grace<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    let problem = "is not allowed; write a duration from \"0s\" to \"1h\"";
    parse_value(deserializer, problem, |value| {
        duration(value).filter(|grace| *grace <= MAX_PRESENCE_GRACE)
    })
}

pub(super) fn drain_delay<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    let problem = "is not allowed; write a duration from \"0s\" to \"10m\"";
    parse_value(deserializer, problem, |value| {
        duration(value).filter(|delay| *delay <= MAX_DRAIN_DELAY)
    })
}

pub(super) fn leeway<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let problem = "is not allowed; write whole seconds from \"0s\" to \"5m\"";
    parse_value(deserializer, problem, |value| {
        duration(value).filter(|leeway| *leeway <= MAX_LEEWAY && leeway.subsec_nanos() == 0)
    })
}

pub(super) fn scrollback_lines<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<usize, D::Error> {
    let problem =
        format!("is not allowed; write a number of lines from 0 to {MAX_SCROLLBACK_LINES}");
    parse_value(deserializer, &problem, |value| integer_up_to(value, MAX_SCROLLBACK_LINES))
}

pub(super) fn scrollback_bytes<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<usize, D::Error> {
    let bytes = ByteSize::deserialize(deserializer)?.get().get();
    if !SCROLLBACK_BYTES.contains(&bytes) {
        let allowed = "write a size from \"64KiB\" to \"1GiB\"";
        return Err(Error::custom(format!("{bytes} bytes are not allowed; {allowed}")));
    }
    Ok(bytes)
}

pub(super) fn log_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let bytes = ByteSize::deserialize(deserializer)?.get().get() as u64;
    if !LOG_BYTES.contains(&bytes) {
        let allowed = "write a size from \"1MiB\" to \"1GiB\"";
        return Err(Error::custom(format!("{bytes} bytes are not allowed; {allowed}")));
    }
    Ok(bytes)
}

pub(super) fn memory_max<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    let bytes = ByteSize::deserialize(deserializer)?.get().get() as u64;
    if bytes < MIN_MEMORY_BYTES {
        let allowed = "write at least \"4MiB\"";
        return Err(Error::custom(format!("{bytes} bytes are not allowed; {allowed}")));
    }
    Ok(Some(bytes))
}

/// Returns an integer from 0 to `max`.
fn integer_up_to(value: &Value, max: usize) -> Option<usize> {
    let integer = value.as_integer().and_then(|integer| usize::try_from(integer).ok());
    integer.filter(|integer| *integer <= max)
}

pub(super) fn duration(value: &Value) -> Option<Duration> {
    humantime::parse_duration(value.as_str()?).ok()
}
