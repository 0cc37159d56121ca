//! The processes of a program's session (setsid(2)), found in `/proc`.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::group::Group;

/// The leader of a session, recorded so that a later process can identify the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leader {
    pid: i32,
    /// The leader's start time, in clock ticks since boot. Needed because process ids are reused.
    started: u64,
    boot: String,
    /// The control group of the program, if it has limits.
    #[serde(default)]
    group: Option<Group>,
}

impl Leader {
    /// Returns the running process `pid` in its control group; `None` if it has ended.
    pub(crate) fn of(pid: u32, group: Option<&Group>) -> Option<Self> {
        let pid = i32::try_from(pid).ok()?;
        let started = started(Pid::from_raw(pid)?)?;
        Some(Self { pid, started, boot: boot()?, group: group.cloned() })
    }

    /// Kills every process in the session, unless the id now belongs to another session. Then kills
    /// every process in the control group, and removes the group.
    pub(crate) fn kill_session(&self) {
        let Some(pid) = Pid::from_raw(self.pid).filter(|_| boot().as_ref() == Some(&self.boot))
        else {
            return;
        };
        // The leader may have ended: the system never reuses the id of a session in use.
        if started(pid).is_none_or(|started| started == self.started) {
            kill(pid);
        }
        if let Some(group) = &self.group {
            group.end();
        }
    }

    pub(crate) fn is_of_earlier_boot(&self) -> bool {
        boot().is_some_and(|boot| boot != self.boot)
    }
}

/// Kills every process in a session, whatever its process group.
pub(crate) fn kill(session: Pid) {
    let Ok(entries) = fs::read_dir("/proc") else { return };
    let processes = entries.flatten().filter_map(|entry| {
        let id: i32 = entry.file_name().to_str()?.parse().ok()?;
        Pid::from_raw(id)
    });
    for process in processes {
        // Reads `/proc`, because `getsid` reports no session for kernel threads.
        let id = field(process, 3).and_then(|id| i32::try_from(id).ok());
        if id == Some(session.as_raw_nonzero().get()) {
            let _ = kill_process(process, Signal::KILL);
        }
    }
}

fn started(process: Pid) -> Option<u64> {
    field(process, 19)
}

/// Returns a number from `/proc/PID/stat` by its index after the program's name (proc(5)).
fn field(process: Pid, index: usize) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).ok()?;
    // The name is in parentheses and may contain anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(index)?.parse().ok()
}

fn boot() -> Option<String> {
    Some(fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim_end().to_owned())
}
