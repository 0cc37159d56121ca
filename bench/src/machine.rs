//! Resource usage of a process and of the machine, read from `/proc`.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Returns the CPU time of a process with all its threads, in user and kernel mode.
///
/// The scheduler counts nanoseconds for each live thread. The process total counts in ticks of
/// 10 ms, and includes threads that have ended. The larger of the two is the better figure.
pub(crate) fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let ticks = cpu_ticks(&stat).with_context(|| format!("{path} has an unknown format"))?;
    let total = Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second());
    Ok(total.max(thread_times(pid).unwrap_or_default()))
}

/// Sums the scheduler's counts for the live threads of a process.
fn thread_times(pid: u32) -> std::io::Result<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the listing and the read.
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };

        nanos += run_nanos(&text).unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanos))
}

/// Returns the CPU time of the kernel's threads for deferred network work, on all cores.
///
/// The kernel does the receiving half of a loopback `send()` either within the call or in these
/// threads. Without them, a server whose sends are deferred looks cheaper than it is.
pub(crate) fn softirq_time() -> Duration {
    // Kernel threads do not change, so the search runs once.
    static THREADS: LazyLock<Vec<PathBuf>> = LazyLock::new(softirq_threads);
    let times = THREADS.iter().filter_map(|path| run_nanos(&fs::read_to_string(path).ok()?));
    Duration::from_nanos(times.sum())
}

/// Returns the `schedstat` file of each `ksoftirqd` thread.
fn softirq_threads() -> Vec<PathBuf> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten().map(|it| it.path());
    let is_softirq = |path: &PathBuf| {
        fs::read_to_string(path.join("comm")).is_ok_and(|name| name.starts_with("ksoftirqd/"))
    };
    processes.filter(is_softirq).map(|path| path.join("schedstat")).collect()
}

/// Parses field 1 of `schedstat`.
fn run_nanos(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

/// Sums fields 14 and 15 of `stat`.
fn cpu_ticks(stat: &str) -> Option<u64> {
    // The name in field 2 may contain spaces and parentheses, so the fields after it are counted
    // from its last parenthesis.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// Returns the number of open file descriptors of a process.
pub(crate) fn open_files(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/fd");
    let entries = fs::read_dir(&path).with_context(|| format!("cannot read {path}"))?;
    Ok(entries.count() as u64)
}

/// The memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// The resident set size.
    pub(crate) resident: u64,
    /// The largest resident set size so far.
    pub(crate) peak: u64,
}

/// Returns the memory of a process.
pub(crate) fn memory(pid: u32) -> anyhow::Result<Memory> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let field = |name| kilobytes(&status, name).with_context(|| format!("{path} has no {name}"));
    Ok(Memory { resident: field("VmRSS:")? * 1024, peak: field("VmHWM:")? * 1024 })
}

fn kilobytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Describes the cores and the load of the machine, for comparisons between runs.
pub(crate) fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let minutes: Vec<_> = load.split_whitespace().take(3).collect();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    format!("{cores} cores, load average {}", minutes.join(" "))
}

/// Raises the limit of open files of this process and of those that it starts.
///
/// # Errors
/// The hard limit is below `needed`.
pub(crate) fn allow_open_files(needed: u64) -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let is_enough = |value: Option<u64>| value.is_none_or(|value| value >= needed);
    if is_enough(limit.current) {
        return Ok(());
    }

    // Only the superuser may raise the hard limit.
    let maximum = if is_enough(limit.maximum) { limit.maximum } else { Some(needed) };
    if setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_err() {
        let found = limit.maximum.unwrap_or_default();
        bail!("{needed} open files are needed, {found} are allowed; raise `ulimit -Hn`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_parsed_after_a_name_with_parentheses() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 9 1 2";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks("7 (a) S 1"), None);
        assert_eq!(run_nanos("76929992 0 3\n"), Some(76_929_992));
        assert_eq!(run_nanos(""), None);
    }

    #[test]
    fn usage_of_a_live_process_is_read() {
        let pid = std::process::id();
        let _file = fs::File::open("/proc/self/status").unwrap();

        let memory = memory(pid).unwrap();

        assert!(memory.peak >= memory.resident && memory.resident > 4096);
        assert!(open_files(pid).unwrap() > 3);
        assert!(cpu_time(pid).is_ok());
    }
}
