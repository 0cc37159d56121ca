//! Limits of a terminal's memory and tasks, where the system has control groups for them.

use std::{fs, path::PathBuf, process::Stdio, time::Duration};

use serde_json::Value;

use crate::support::{TestHome, TestProcess, TestServer, wait_until};

/// Time limit for what a test waits for.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Starts a server with a limit. Returns `None` if the system cannot enforce it, after a check that
/// the server has refused to start with a line that names a remedy.
fn start_with_limit(home: &TestHome, limit: &str, script: &str) -> Option<TestServer> {
    let profile = format!("[profiles.terminal]\ncommand = [\"sh\", \"-c\", '''{script}''']\n");
    home.write("rejoin.toml", &format!("[sessions]\n{limit}\n{profile}"));
    let mut command = home.rejoin(&["serve", "--listen", "127.0.0.1:0"]);
    command.stderr(Stdio::piped());
    let mut process = TestProcess::start(command);
    if process.lines().next().is_some() {
        drop(process);
        return Some(home.start_server());
    }

    let lines: Vec<_> = process.stderr.take().unwrap().map(Result::unwrap).collect();
    assert_eq!(process.wait(), Some(1), "{lines:?}");
    let [line] = &lines[..] else { panic!("{lines:?}") };
    let start = "rejoin: `sessions.memory_max` and `sessions.tasks_max` need a control group for \
                 each terminal: ";
    let reason = line.strip_prefix(start).expect(line);
    let remedies = ["mount a cgroup2 file system", "Delegate=yes", "DelegateSubgroup=server"];
    assert!(remedies.iter().any(|remedy| reason.contains(remedy)), "{line}");
    None
}

/// Returns the control group of a terminal, which its keeper has recorded.
fn group(home: &TestHome, id: &str) -> PathBuf {
    let leader = fs::read(home.data_path("terminals").join(id).join("leader.json")).unwrap();
    let leader: Value = serde_json::from_slice(&leader).unwrap();
    leader["group"]["path"].as_str().unwrap().into()
}

#[test]
fn a_fork_bomb_stays_within_its_terminal() {
    let home = TestHome::new();
    let script = "(for n in $(seq 200); do sleep 1000 & done) 2>&1; echo over; exec cat";
    let Some(server) = start_with_limit(&home, "tasks_max = 50", script) else { return };
    let api = server.admin_api();

    // Neither affects the other.
    let ids = [server.create_terminal(), server.create_terminal()];
    let groups = ids.each_ref().map(|id| group(&home, id));
    for (id, group) in ids.iter().zip(&groups) {
        let screen = || api.text(&format!("/sessions/{id}/screen"));
        wait_until(TIMEOUT, "the bomb is over", || screen().contains("over"));
        let tasks = fs::read_to_string(group.join("pids.current")).unwrap();
        let tasks: u32 = tasks.trim_end().parse().unwrap();
        assert!((40..=50).contains(&tasks), "{tasks} tasks");
    }

    for (id, group) in ids.iter().zip(&groups) {
        assert_eq!(api.delete(&format!("/sessions/{id}")), 204);
        wait_until(TIMEOUT, "the group is removed", || !group.exists());
    }
}

#[test]
fn a_program_above_its_memory_ends_with_that_reason() {
    let home = TestHome::new();
    let script = "tail /dev/zero";
    let Some(server) = start_with_limit(&home, "memory_max = \"32MiB\"", script) else { return };

    let id = server.create_terminal();
    wait_until(TIMEOUT, "the program ends", || server.session(&id)["status"] == "error");

    let session = server.session(&id);
    let reason = "the program was killed because it exceeded its limit of memory";
    assert_eq!(session["reason"], reason, "{session}");
    assert_eq!(session["exit"]["signal"], "SIGKILL", "{session}");
    wait_until(TIMEOUT, "the group is removed", || !group(&home, &id).exists());
}
