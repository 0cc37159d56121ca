//! Processes of terminals, and waiting for events that no message announces.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use procfs::process::{Process, all_processes};

use crate::clock;

/// The time between two looks at a condition.
pub(super) const POLL: Duration = Duration::from_millis(10);
/// The time for an event that the server must notice.
pub(super) const TIMEOUT: Duration = Duration::from_secs(20);

/// Returns the processes whose command line contains a text.
pub(super) fn processes_of(text: &str) -> anyhow::Result<Vec<i32>> {
    let has_text = |it: &Process| it.cmdline().is_ok_and(|line| line.join(" ").contains(text));
    Ok(all_processes()?.flatten().filter(has_text).map(|it| it.pid).collect())
}

/// Returns the sessions whose keepers run with a directory below `terminals`.
pub(super) fn kept_sessions(terminals: &Path) -> anyhow::Result<BTreeSet<String>> {
    let session = |process: Process| {
        let line = process.cmdline().ok()?;
        let directory = Path::new(line.last()?);
        let name = directory.file_name().filter(|_| directory.parent() == Some(terminals))?;
        Some(name.to_str()?.to_owned())
    };
    Ok(all_processes()?.flatten().filter_map(session).collect())
}

/// Returns whether a process has ended. A zombie has: its parent may reap it late.
pub(super) fn has_ended(id: i32) -> bool {
    Process::new(id).and_then(|it| it.stat()).map_or(true, |stat| stat.state == 'Z')
}

/// Waits until a condition holds.
///
/// # Errors
/// It does not hold in time.
pub(super) fn wait_until(event: &str, mut is_done: impl FnMut() -> bool) -> anyhow::Result<()> {
    let due = clock::after(TIMEOUT);
    while !is_done() {
        ensure!(clock::now() < due, "{event}: not within {TIMEOUT:?}");
        clock::pause(POLL);
    }
    Ok(())
}
