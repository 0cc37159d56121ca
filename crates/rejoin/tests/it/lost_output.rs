//! Damage to the directory of the terminals and to their logs.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::json;

use crate::support::{TestHome, TestServer, wait_until};

/// Time limit for what a test waits for.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The output of the program, in bytes: lines that a terminal ends with CR LF.
const OUTPUT_BYTES: u64 = 800_000 + "ready\r\n".len() as u64;
/// The length of the cut segment. What is lost exceeds the window of a keeper, 512 KiB.
const CUT_BYTES: u64 = 100_000;

/// Returns the only file in a directory.
fn only_file(directory: &Path) -> PathBuf {
    let mut files = fs::read_dir(directory).unwrap();
    let file = files.next().expect("a file").unwrap().path();
    assert!(files.next().is_none(), "several files");
    file
}

#[test]
fn a_terminal_goes_on_after_its_log_was_cut() {
    let home = TestHome::new();
    home.write_terminal_profile("stty -echo; seq -w 1 100000; echo ready; exec cat");
    let server = home.start_server();
    let id = server.create_terminal();
    let screen = |server: &TestServer| server.admin_api().text(&format!("/sessions/{id}/screen"));
    wait_until(TIMEOUT, "all is printed", || screen(&server).contains("ready"));
    let attached = server.connect_as_admin().request("attach", json!({ "session": id }));
    let position = attached["payload"]["position"].as_str().unwrap().to_owned();
    let (epoch, _) = position.split_once('.').unwrap();
    server.stop(Signal::KILL);

    let directory = home.data_path("terminals").join(&id);
    let segment = only_file(&directory.join("log"));
    File::options().write(true).open(segment).unwrap().set_len(CUT_BYTES).unwrap();
    // The log alone is left.
    let _ = fs::remove_file(directory.join("screen"));
    let server = home.start_server();

    // The client has a position in the lost output.
    let mut client = server.connect_as_admin();
    let lost = format!("{epoch}.{}", OUTPUT_BYTES / 2);
    let attach = json!({ "session": id, "position": lost, "writer": "tab" });
    let attached = client.request("attach", attach);
    assert_eq!(attached["payload"]["verdict"], "snapshot", "{attached}");
    let end = format!("{epoch}.{OUTPUT_BYTES}");
    assert_eq!(attached["payload"]["position"], end, "{attached}");
    client.send("input", json!({ "session": id, "data": "alive\n", "seq": 1 }));
    wait_until(TIMEOUT, "the program answers", || screen(&server).contains("alive"));

    let (_, log) = server.stop(Signal::TERM);
    let lines: Vec<_> = log.lines().filter(|line| line.contains("output of a terminal")).collect();
    let [line] = lines[..] else { panic!("{log}") };
    let field = |name: &str| {
        let (_, value) = line.split_once(&format!("{name}=")).expect("a field");
        value.split(' ').next().unwrap().to_owned()
    };
    let number = |name| field(name).parse::<u64>().unwrap();
    assert_eq!(field("session"), id, "{line}");
    assert_eq!(number("to"), OUTPUT_BYTES, "{line}");
    assert!(number("from") < CUT_BYTES, "{line}");
    assert_eq!(number("bytes"), OUTPUT_BYTES - number("from"), "{line}");
}

#[test]
fn a_directory_of_terminals_open_to_others_is_refused() {
    let home = TestHome::new();
    home.write_terminal_profile("exec cat");
    let terminals = home.data_path("terminals");
    fs::create_dir_all(&terminals).unwrap();
    let set_mode = |mode| fs::set_permissions(&terminals, Permissions::from_mode(mode)).unwrap();
    let refused = |reason: &str| {
        for command in [&["serve", "--listen", "127.0.0.1:0"][..], &["kill", "--all"]] {
            let error = home.error_of(command);
            let path = terminals.display().to_string();
            assert!(error.contains(reason) && error.contains(&path), "{error}");
        }
    };

    set_mode(0o755);
    refused("other users have access (mode 0755); 0700 is required");
    set_mode(0o700);
    if chown(&terminals, Some(65534), None).is_ok() {
        refused("user 65534 owns it, and rejoin runs as user");
        chown(&terminals, Some(rustix::process::geteuid().as_raw()), None).unwrap();
    }
    fs::rename(&terminals, home.path("elsewhere")).unwrap();
    symlink(home.path("elsewhere"), &terminals).unwrap();
    refused("it is not a directory");

    fs::remove_file(&terminals).unwrap();
    fs::rename(home.path("elsewhere"), &terminals).unwrap();
    assert!(!home.start_server().create_terminal().is_empty());
}
