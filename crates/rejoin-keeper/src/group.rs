//! The control groups (cgroups v2) of programs, which limit their memory and their tasks.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Read, Seek},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, kill_process},
};
use serde::{Deserialize, Serialize};

/// The maximum wait for one change of a group whose processes were killed.
const CHANGE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// The number of such waits, after which the group is left behind.
const CHANGES: usize = 20;

/// The limits of one program and all its descendants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The maximum memory, in bytes. `None` means no limit.
    pub memory_max: Option<u64>,
    /// The maximum number of processes and threads. `None` means no limit.
    pub tasks_max: Option<u64>,
}

/// The limits of programs, and the control group below which each program gets its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitedGroups {
    parent: PathBuf,
    limits: Limits,
}

/// The reason why the system cannot enforce the limits.
#[derive(Debug, thiserror::Error)]
pub enum LimitsError {
    /// Control groups v2 are not mounted, or not visible.
    #[error(
        "this process has no control group of version 2; mount a cgroup2 file system, or boot \
         with `systemd.unified_cgroup_hierarchy=1`"
    )]
    NoHierarchy,
    /// The parent group does not offer a controller.
    #[error(
        "the controller `{controller}` is not available in {}; a hierarchy of version 1 may use \
         it, or a group above does not delegate it (`Delegate=yes` in the systemd unit)",
        parent.display()
    )]
    NoController {
        /// The name of the controller.
        controller: &'static str,
        /// The parent group.
        parent: PathBuf,
    },
    /// The parent group belongs to another program.
    #[error(
        "the control group {} is not delegated to the server; set `Delegate=yes` and \
         `DelegateSubgroup=server` in the systemd unit",
        .0.display()
    )]
    NotDelegated(PathBuf),
    /// The parent group contains processes itself, so it cannot limit those of groups below it.
    #[error(
        "the control group {} has processes of its own; set `DelegateSubgroup=server` in the \
         systemd unit, and end terminals of an earlier unit with `rejoin kill --all`",
        .0.display()
    )]
    Busy(PathBuf),
    /// The parent group cannot be changed.
    #[error(
        "the control group {} cannot be changed ({error}); set `Delegate=yes` and \
         `DelegateSubgroup=server` in the systemd unit, or give the group to the server's user",
        path.display()
    )]
    NotWritable {
        /// The parent group.
        path: PathBuf,
        /// The operating system's error.
        error: io::Error,
    },
}

impl Limits {
    /// Returns the names of the controllers that enforce the limits.
    fn controllers(self) -> impl Iterator<Item = &'static str> {
        let memory = self.memory_max.map(|_| "memory");
        memory.into_iter().chain(self.tasks_max.map(|_| "pids"))
    }
}

impl LimitedGroups {
    /// Prepares the groups of programs, next to the group of this process. Returns `None` if there
    /// are no limits.
    ///
    /// # Errors
    /// If the system cannot enforce a limit.
    pub fn open(limits: Limits) -> Result<Option<Self>, LimitsError> {
        if limits == Limits::default() {
            return Ok(None);
        }

        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let parent = parent(&groups, &mounts).ok_or(LimitsError::NoHierarchy)?;
        let groups = Self { parent, limits };
        groups.prepare()?;
        Ok(Some(groups))
    }

    /// Enables the controllers, and checks that groups can be created.
    fn prepare(&self) -> Result<(), LimitsError> {
        let parent = &self.parent;
        // systemd owns its slices, and only delegates groups below them.
        if parent.extension().is_some_and(|extension| extension == "slice") {
            return Err(LimitsError::NotDelegated(parent.clone()));
        }

        let not_writable = |error: io::Error| match error.kind() {
            ErrorKind::ResourceBusy => LimitsError::Busy(parent.clone()),
            _ => LimitsError::NotWritable { path: parent.clone(), error },
        };
        let list = |name| fs::read_to_string(parent.join(name)).unwrap_or_default();
        let (available, enabled) = (list("cgroup.controllers"), list("cgroup.subtree_control"));
        for controller in self.limits.controllers() {
            let is_in = |list: &str| list.split_whitespace().any(|name| name == controller);
            if !is_in(&available) {
                return Err(LimitsError::NoController { controller, parent: parent.clone() });
            }
            if !is_in(&enabled) {
                let path = parent.join("cgroup.subtree_control");
                write(&path, &format!("+{controller}")).map_err(not_writable)?;
            }
        }

        let probe = format!("check-{}", std::process::id());
        self.create(&probe).map_err(not_writable)?.remove();
        Ok(())
    }

    /// Creates the group of a program and sets its limits.
    pub(crate) fn create(&self, name: &str) -> io::Result<Group> {
        // The prefix prevents collisions with the kernel's files.
        let group = Group { path: self.parent.join(format!("terminal-{name}")) };
        // A keeper that was killed during its start may have left the group behind.
        let _ = fs::remove_dir(&group.path);
        DirBuilder::new().mode(0o755).create(&group.path)?;
        let limited = self.limit(&group.path);
        if limited.is_err() {
            group.remove();
        }
        limited.map(|()| group)
    }

    fn limit(&self, path: &Path) -> io::Result<()> {
        let Limits { memory_max, tasks_max } = self.limits;
        if let Some(bytes) = memory_max {
            write(&path.join("memory.max"), &bytes.to_string())?;
            // Ends the program as a whole, because a part of it would rarely work without the rest.
            write(&path.join("memory.oom.group"), "1")?;
        }
        if let Some(tasks) = tasks_max {
            write(&path.join("pids.max"), &tasks.to_string())?;
        }
        Ok(())
    }
}

/// The control group of one program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    path: PathBuf,
}

impl Group {
    /// Opens the file through which a process enters the group by writing `0`.
    pub(crate) fn entry(&self) -> io::Result<File> {
        OpenOptions::new().write(true).open(self.path.join("cgroup.procs"))
    }

    /// Returns `true` if the kernel has killed processes in the group to free memory.
    pub(crate) fn was_out_of_memory(&self) -> bool {
        let events = fs::read_to_string(self.path.join("memory.events")).unwrap_or_default();
        let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.and_then(|kills| kills.parse().ok()).is_some_and(|kills: u64| kills > 0)
    }

    /// Kills every process in the group, including those that have left the program's session.
    pub(crate) fn kill(&self) {
        // Kills all at once, before a process can start another one. Kernels before 5.14 lack it.
        if write(&self.path.join("cgroup.kill"), "1").is_ok() {
            return;
        }
        let processes = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        for id in processes.lines().filter_map(|id| id.parse().ok()) {
            // 0 stands for a process outside this one's PID namespace.
            if let Some(process) = Pid::from_raw(id) {
                let _ = kill_process(process, Signal::KILL);
            }
        }
    }

    /// Removes the group, unless it contains processes.
    pub(crate) fn remove(&self) {
        let _ = fs::remove_dir(&self.path);
    }

    /// Kills every process, waits at most 2 s for them to end, and removes the group.
    pub(crate) fn end(&self) {
        let Ok(mut events) = File::open(self.path.join("cgroup.events")) else { return };
        for _ in 0..CHANGES {
            self.kill();
            // Reads before the check, so that any later change makes the file ready.
            let _ = events.rewind().and_then(|()| events.read_to_end(&mut Vec::new()));
            match fs::remove_dir(&self.path) {
                Err(error) if error.kind() == ErrorKind::ResourceBusy => {}
                _ => return,
            }
            let _ = poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&CHANGE));
        }
    }
}

/// Returns the group below which groups of programs are created: the parent of this process's
/// group, or the group itself if it is the topmost one that the process sees.
fn parent(groups: &str, mounts: &str) -> Option<PathBuf> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let (root, mount) = mounts.lines().find_map(|line| {
        let (fields, file_system) = line.split_once(" - ")?;
        let mut fields = fields.split(' ').skip(3);
        let (root, mount) = (fields.next()?, fields.next()?);
        (file_system.starts_with("cgroup2 ") && Path::new(own).starts_with(root))
            .then_some((root, mount))
    })?;

    let below = Path::new(own).strip_prefix(root).ok()?;
    Some(Path::new(mount).join(below.parent().unwrap_or(below)).components().collect())
}

/// Writes to an existing file of the kernel.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    io::Write::write_all(&mut file, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
        25 21 0:23 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
        26 21 0:24 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

    #[test]
    fn programs_get_groups_beside_that_of_the_server() {
        let of = |group: &str| parent(&format!("8:pids:/other\n0::{group}\n"), MOUNTS);
        let found = |path: &str| Some(PathBuf::from(format!("/sys/fs/cgroup/unified{path}")));

        assert_eq!(
            of("/system.slice/rejoin.service/server"),
            found("/system.slice/rejoin.service")
        );
        assert_eq!(of("/rejoin"), found(""));
        assert_eq!(of("/"), found(""));
        assert_eq!(parent("8:pids:/\n", MOUNTS), None);
        assert_eq!(parent("0::/\n", "25 21 0:23 / /sys/fs/cgroup/pids rw - cgroup c rw\n"), None);
        // A container whose mount shows a part of the hierarchy.
        let part = "26 21 0:24 /box /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(parent("0::/box/a/b\n", part), Some(PathBuf::from("/sys/fs/cgroup/a")));
        assert_eq!(parent("0::/else\n", part), None);
    }

    /// Creates a directory with the files of a group.
    fn fake(controllers: &str) -> (tempfile::TempDir, LimitedGroups) {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("cgroup.controllers"), controllers).unwrap();
        fs::write(home.path().join("cgroup.subtree_control"), "").unwrap();
        let limits = Limits { memory_max: Some(1 << 20), tasks_max: Some(50) };
        let parent = home.path().to_owned();
        (home, LimitedGroups { parent, limits })
    }

    #[test]
    fn a_missing_controller_is_named() {
        let (_home, groups) = fake("cpu memory\n");
        let error = groups.prepare().unwrap_err();
        assert!(matches!(error, LimitsError::NoController { controller: "pids", .. }), "{error}");
        assert!(error.to_string().contains("the controller `pids` is not available"), "{error}");
    }

    #[test]
    fn slices_of_systemd_are_not_used() {
        let (home, mut groups) = fake("memory pids\n");
        groups.parent = home.path().join("system.slice");
        assert!(matches!(groups.prepare(), Err(LimitsError::NotDelegated(_))));
    }

    #[test]
    fn memory_kills_are_read_from_the_events() {
        let home = tempfile::tempdir().unwrap();
        let group = Group { path: home.path().to_owned() };
        assert!(!group.was_out_of_memory());
        for (kills, expected) in [("0", false), ("1", true), ("12", true)] {
            let events = format!("max 5\noom 1\noom_kill {kills}\noom_group_kill 1\n");
            fs::write(home.path().join("memory.events"), events).unwrap();
            assert_eq!(group.was_out_of_memory(), expected);
        }
    }
}
