//! Programs in control groups, where a cgroup2 file system can be written to.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use rejoin_keeper::{Directory, launch::Launch};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Keeper, PATIENCE, Server, launch, until};

/// A control group below which a test creates others. It is removed when it is dropped.
struct Parent(PathBuf);

impl Parent {
    /// Returns `None` without the right to create it.
    fn create(name: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let mount = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (path, kind) = (fields.next()?, fields.next()?);
            (kind == "cgroup2").then(|| path.to_owned())
        })?;
        let path = Path::new(&mount).join(format!("rejoin-test-{name}-{}", std::process::id()));
        fs::create_dir(&path).ok()?;
        Some(Self(path))
    }

    /// Returns the launch of a script in a group without a limit: not each system has controllers.
    fn launch(&self, script: &str) -> Launch {
        let groups = serde_json::from_value(json!({ "parent": self.0, "limits": {} })).unwrap();
        Launch { groups: Some(groups), ..launch(&["sh", "-c", script]) }
    }

    /// Returns the groups below this one.
    fn groups(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_dir()).collect()
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        // After a failure the programs may still run.
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        for group in self.groups() {
            let end = Instant::now() + PATIENCE;
            while fs::remove_dir(&group).is_err() && Instant::now() < end {}
        }
        let _ = fs::remove_dir(&self.0);
    }
}

fn processes(group: &Path) -> Vec<u32> {
    let ids = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    ids.lines().map(|id| id.parse().unwrap()).collect()
}

#[test]
fn a_hang_up_ends_processes_that_left_the_session() {
    let Some(parent) = Parent::create("hang-up") else {
        println!("skipped: no control groups can be created");
        return;
    };
    let script = "setsid sleep 600 & echo ready; exec sleep 600";
    let keeper = Keeper::launch(&parent.launch(script));
    let group = parent.0.join("terminal-terminal");
    assert_eq!(parent.groups(), std::slice::from_ref(&group));
    let (mut server, hello) = Server::connect(&keeper);
    // `setsid` runs before or after the shell is replaced.
    until(|| processes(&group).len() == 2);
    let inside = processes(&group);
    assert!(inside.contains(&hello.pid), "{inside:?}");
    assert!(!inside.contains(&keeper.process.id()), "{inside:?}");

    server.hang_up();

    until(|| !keeper.directory.has_keeper().unwrap());
    assert_eq!(parent.groups(), [] as [PathBuf; 0]);
    for id in inside {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
    }
}

#[test]
fn the_group_of_a_killed_keeper_is_ended() {
    let Some(parent) = Parent::create("killed") else {
        println!("skipped: no control groups can be created");
        return;
    };
    let mut keeper = Keeper::launch(&parent.launch("setsid sleep 600 & exec sleep 600"));
    let group = parent.0.join("terminal-terminal");
    until(|| processes(&group).len() == 2);
    keeper.process.kill().unwrap();
    keeper.process.wait().unwrap();

    keeper.directory.kill_session();

    assert_eq!(parent.groups(), [] as [PathBuf; 0]);
}

#[test]
fn a_program_that_is_not_found_leaves_no_group() {
    let Some(parent) = Parent::create("not-found") else {
        println!("skipped: no control groups can be created");
        return;
    };
    let home = TempDir::new().unwrap();
    let directory = Directory::new(home.path().join("terminal"));
    directory.create().unwrap();
    let mut launch = parent.launch("");
    launch.command = vec!["/no/such/program".to_owned()];

    let keeper = Path::new(env!("CARGO_BIN_EXE_rejoin-keeper"));
    let (mut process, started) =
        rejoin_keeper::launch::start(keeper, &[], &directory, &launch).unwrap();

    assert_eq!(started, rejoin_keeper::launch::Started::NotFound);
    process.wait().unwrap();
    assert_eq!(parent.groups(), [] as [PathBuf; 0]);
}
