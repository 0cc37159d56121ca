//! What the operating system knows about a process.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Returns the CPU time of a process, all its threads included, in user and kernel.
///
/// The scheduler counts nanoseconds for each live thread. The process total counts in ticks of
/// 10 ms, and includes threads that have ended. The larger of the two is the better figure.
pub(crate) fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let ticks = cpu_ticks(&stat).with_context(|| format!("{path} has an unknown form"))?;
    let total = Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second());
    Ok(total.max(thread_times(pid).unwrap_or_default()))
}

/// Adds up what the scheduler counted for the live threads of a process.
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
    static THREADS: LazyLock<Vec<PathBuf>> = LazyLock::new(softirq_threads);
    let times = THREADS.iter().filter_map(|path| run_nanos(&fs::read_to_string(path).ok()?));
    Duration::from_nanos(times.sum())
}

/// Finds the `schedstat` of each such thread.
fn softirq_threads() -> Vec<PathBuf> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten().map(|it| it.path());
    let is_softirq = |path: &PathBuf| {
        fs::read_to_string(path.join("comm")).is_ok_and(|name| name.starts_with("ksoftirqd/"))
    };
    processes.filter(is_softirq).map(|path| path.join("schedstat")).collect()
}

/// Field 1 of a thread's `schedstat`.
fn run_nanos(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

/// Returns the number of file descriptors that a process has open.
pub(crate) fn open_files(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/fd");
    let entries = fs::read_dir(&path).with_context(|| format!("cannot read {path}"))?;
    Ok(entries.count() as u64)
}

/// Fields 14 and 15; the name before them may hold anything, but ends with the last parenthesis.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// What it has in memory.
    pub(crate) resident: u64,
    /// The most that it ever had.
    pub(crate) peak: u64,
}

/// The memory of a process.
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

/// How much the machine has to do beside us, as the system counts it.
pub(crate) fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let minutes: Vec<_> = load.split_whitespace().take(3).collect();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    format!("{cores} cores, load average {}", minutes.join(" "))
}

/// Allows this process, and those that it starts, as many open files as the machine permits.
pub(crate) fn allow_open_files(needed: u64) -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let allowed = |value: Option<u64>| value.is_none_or(|value| value >= needed);
    if allowed(limit.current) {
        return Ok(());
    }
    // Only the super-user may raise the maximum; for others it has to be enough.
    let maximum = if allowed(limit.maximum) { limit.maximum } else { Some(needed) };
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
    fn cpu_time_is_user_and_system_whatever_the_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 9 1 2";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks("7 (a) S 1"), None);
        assert!(cpu_time(std::process::id()).is_ok());
        assert_eq!(run_nanos("76929992 0 3\n"), Some(76_929_992));
        assert_eq!(run_nanos(""), None);
    }

    #[test]
    fn an_open_file_is_counted() {
        let _file = fs::File::open("/proc/self/status").unwrap();
        assert!(open_files(std::process::id()).unwrap() > 3);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let memory = memory(std::process::id()).unwrap();
        assert!(memory.peak >= memory.resident && memory.resident > 4096);
    }
}
