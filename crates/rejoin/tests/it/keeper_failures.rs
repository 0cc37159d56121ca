//! Terminals under failures: full disks, planted files, stopped keepers and hostile input.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::{SmallDisk, TestClient, TestHome, TestServer, wait_until};

/// Time limit for what a test waits for.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Returns the visible text of a session.
fn screen(server: &TestServer, id: &str) -> String {
    server.admin_api().text(&format!("/sessions/{id}/screen"))
}

fn attach(server: &TestServer, id: &str) -> TestClient {
    let mut client = server.connect_as_admin();
    let attached = client.request("attach", json!({ "session": id, "writer": "tab" }));
    assert_eq!(attached["type"], "attached", "{attached}");
    client
}

/// Returns the keeper of a session, found by the name that process lists show.
fn keeper(id: &str) -> Pid {
    let name = format!("rejoin: keeper {id}\0");
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let mut keepers = ids.filter(|id| {
        fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default().starts_with(&name)
    });
    Pid::from_raw(keepers.next().expect("a keeper")).unwrap()
}

#[test]
fn process_lists_name_the_keeper_and_its_session() {
    let home = TestHome::new();
    home.write_terminal_profile("exec cat");
    let server = home.start_server();
    let id = server.create_terminal();

    let name = format!("/proc/{}/comm", keeper(&id).as_raw_nonzero());
    assert_eq!(fs::read_to_string(name).unwrap(), "rejoin-keeper\n");
}

#[test]
fn planted_directories_are_refused_with_their_reason() {
    let home = TestHome::new();
    home.write_terminal_profile("exec cat");
    let server = home.start_server();
    let id = server.create_terminal();
    server.stop(Signal::KILL);

    let root = home.data_path("terminals");
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    fs::create_dir(root.join("open")).unwrap();
    open(&root.join("open"));
    symlink(root.join(&id), root.join("link")).unwrap();
    fs::create_dir(root.join("pipe")).unwrap();
    fs::set_permissions(root.join("pipe"), fs::Permissions::from_mode(0o700)).unwrap();
    let pipe = root.join("pipe/lock");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());

    let server = home.start_server();
    wait_until(TIMEOUT, "the session is back", || server.session(&id)["status"] == "idle");
    server.wait_for_log("other users have access (mode 0777); 0700 is required");
    let (_, log) = server.stop(Signal::TERM);
    assert!(log.contains("it is not a directory"), "{log}");
    assert!(log.contains("`lock` is not a regular file"), "{log}");
}

#[test]
fn a_stopped_keeper_blocks_no_other_session() {
    let home = TestHome::new();
    home.write_terminal_profile("stty -echo; exec cat");
    let server = home.start_server();
    let (stopped, other) = (server.create_terminal(), server.create_terminal());
    let mut client = attach(&server, &stopped);
    let keeper = keeper(&stopped);
    kill_process(keeper, Signal::STOP).unwrap();

    client.send("input", json!({ "session": stopped, "data": "kept\n", "seq": 1 }));
    let mut second = attach(&server, &other);
    second.send("input", json!({ "session": other, "data": "served\n", "seq": 1 }));
    wait_until(TIMEOUT, "the other echoes", || screen(&server, &other).contains("served"));
    // A new viewer has the screen, although the keeper is stopped.
    attach(&server, &stopped);
    assert!(!screen(&server, &stopped).contains("kept"));

    kill_process(keeper, Signal::CONT).unwrap();
    wait_until(TIMEOUT, "the input arrives", || screen(&server, &stopped).contains("kept"));
}

#[test]
fn a_profile_without_its_directory_names_it() {
    let home = TestHome::new();
    let profile = "[profiles.terminal]\ncommand = [\"cat\"]\ncwd = \"/no/such/directory\"\n";
    home.write("rejoin.toml", profile);
    let server = home.start_server();

    let refused = server
        .connect_as_admin()
        .request("create_session", json!({ "kind": "terminal", "profile": "terminal" }));

    assert_eq!(refused["type"], "error", "{refused}");
    assert!(refused.to_string().contains("/no/such/directory"), "{refused}");
    let mut left = fs::read_dir(home.data_path("terminals")).into_iter().flatten();
    assert!(left.next().is_none(), "a directory is left");
}

#[test]
fn impossible_sizes_are_refused() {
    let home = TestHome::new();
    home.write_terminal_profile("while :; do read line; stty size; done");
    let server = home.start_server();
    let id = server.create_terminal();
    let mut client = attach(&server, &id);

    for (cols, rows) in [(0, 24), (80, 0), (100_000, 24), (80, 100_000)] {
        let size = json!({ "session": id, "cols": cols, "rows": rows });
        let refused = client.request("resize", size);
        assert_eq!(refused["type"], "error", "{refused}");
    }
    client.send("input", json!({ "session": id, "data": "\n" , "seq": 1 }));
    wait_until(TIMEOUT, "the size is unchanged", || screen(&server, &id).contains("24 80"));
}

#[test]
fn a_full_disk_stops_no_terminal_and_no_exit_record() {
    let home = TestHome::new();
    home.write_terminal_profile(
        "stty -echo; while read n; do seq -w 1 $n; echo end$n; [ $n = 3 ] && exit 7; done",
    );
    let Some(disk) = SmallDisk::mount(&home, "terminals", "1m") else { return };
    let server = home.start_server();
    let id = server.create_terminal();
    let mut client = attach(&server, &id);
    let mut run = |seq: u32, count: &str| {
        client.send("input", json!({ "session": id, "data": format!("{count}\n"), "seq": seq }));
        let end = format!("end{count}");
        wait_until(TIMEOUT, &end, || screen(&server, &id).contains(&end));
    };
    run(1, "10");
    disk.fill();
    // More than the rest of a page of the log: its end is lost, and the viewer has it.
    run(2, "20000");
    disk.empty();
    run(3, "30");
    disk.fill();
    run(4, "3");
    wait_until(TIMEOUT, "the exit", || server.session(&id)["exit"]["code"] == 7);

    // The exit is on the full disk.
    server.stop(Signal::KILL);
    let server = home.start_server();
    wait_until(TIMEOUT, "the exit", || server.session(&id)["exit"]["code"] == 7);
}
