//! Resource usage of a process and of the machine, read from `/proc`.

use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context as _, bail};
use procfs::process::{Process, all_processes};
use procfs::{Current as _, LoadAverage, ProcResult};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

fn process(pid: u32) -> anyhow::Result<Process> {
    Process::new(pid.cast_signed()).with_context(|| format!("process {pid} does not run"))
}

/// Returns the CPU time of a process with all its threads, in user and kernel mode.
///
/// The scheduler counts nanoseconds for each live thread. The process total counts in ticks of
/// 10 ms, and includes threads that have ended. The larger of the two is the better figure.
pub(crate) fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let process = process(pid)?;
    let stat = process.stat()?;
    let ticks = stat.utime + stat.stime;
    let total = Duration::from_millis(ticks * 1000 / procfs::ticks_per_second());
    // A thread may end between the listing and the read.
    let nanos = process.tasks()?.filter_map(|task| task.ok()?.schedstat().ok());
    Ok(total.max(Duration::from_nanos(nanos.map(|it| it.sum_exec_runtime).sum())))
}

/// Returns the CPU time of the kernel's threads for deferred network work, on all cores.
///
/// The kernel does the receiving half of a loopback `send()` either within the call or in these
/// threads. Without them, a server whose sends are deferred looks cheaper than it is.
pub(crate) fn softirq_time() -> Duration {
    // Kernel threads do not change, so the search runs once.
    static THREADS: LazyLock<Vec<Process>> =
        LazyLock::new(|| softirq_threads().unwrap_or_default());
    let times = THREADS.iter().filter_map(|thread| Some(thread.schedstat().ok()?.sum_exec_runtime));
    Duration::from_nanos(times.sum())
}

/// Returns the `ksoftirqd` threads.
fn softirq_threads() -> ProcResult<Vec<Process>> {
    let is_softirq = |it: &Process| it.stat().is_ok_and(|stat| stat.comm.starts_with("ksoftirqd/"));
    Ok(all_processes()?.flatten().filter(is_softirq).collect())
}

/// Returns the number of open file descriptors of a process.
pub(crate) fn open_files(pid: u32) -> anyhow::Result<u64> {
    Ok(process(pid)?.fd_count()? as u64)
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
    let status = process(pid)?.status()?;
    let bytes = |kilobytes: Option<u64>| kilobytes.map(|it| it * 1024).context("no memory figure");
    Ok(Memory { resident: bytes(status.vmrss)?, peak: bytes(status.vmhwm)? })
}

/// Returns the memory that a process shares with no other, in bytes.
pub(crate) fn private_bytes(pid: u32) -> anyhow::Result<u64> {
    let rollup = process(pid)?.smaps_rollup()?.memory_map_rollup;
    let values = rollup.iter().map(|map| &map.extension.map);
    let private = |values: &HashMap<String, u64>| {
        ["Private_Clean", "Private_Dirty"].iter().filter_map(|name| values.get(*name)).sum::<u64>()
    };
    Ok(values.map(private).sum())
}

/// Returns the processes of this name with a path below `folder` among their arguments.
pub(crate) fn processes(name: &str, folder: &Path) -> anyhow::Result<Vec<u32>> {
    let is_searched = |process: &Process| {
        process.stat().is_ok_and(|stat| stat.comm == name)
            && process
                .cmdline()
                .is_ok_and(|it| it.iter().any(|it| Path::new(it).starts_with(folder)))
    };
    let found = all_processes()?.flatten().filter(is_searched);
    Ok(found.map(|process| process.pid.cast_unsigned()).collect())
}

/// Returns whether the search path has a program.
pub(crate) fn is_installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|path| path.join(program).is_file())
}

/// Describes the cores and the load of the machine, for comparisons between runs.
pub(crate) fn load() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    match LoadAverage::current() {
        Ok(LoadAverage { one, five, fifteen, .. }) => {
            format!("{cores} cores, load average {one} {five} {fifteen}")
        }
        Err(_) => format!("{cores} cores"),
    }
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
    fn usage_of_a_live_process_is_read() {
        let pid = std::process::id();
        let _file = std::fs::File::open("/proc/self/status").unwrap();

        let memory = memory(pid).unwrap();

        assert!(memory.peak >= memory.resident && memory.resident > 4096);
        assert!(open_files(pid).unwrap() > 3);
        assert!(cpu_time(pid).unwrap() > Duration::ZERO);
    }
}
