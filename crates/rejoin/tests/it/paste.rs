//! A paste that is much larger than every queue on its way to the program.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{TestClient, TestHome, wait_until};

/// Time limit for what a test waits for.
const TIMEOUT: Duration = Duration::from_secs(120);
/// The length of an input in bytes.
const PIECE_BYTES: usize = 32 * 1024;
/// The number of inputs: 50 MB in total.
const PIECES: usize = 1600;
/// Inputs that wait for an acknowledgement once the program reads.
const IN_FLIGHT: usize = 16;
/// Memory that the server may take for the paste, in MiB: a fraction of it.
const SERVER_MIB: u64 = 24;
/// Memory that the keeper may take for the paste, in MiB: a fraction of it.
const KEEPER_MIB: u64 = 8;

/// Returns an input that differs from all others.
fn piece(seq: usize) -> String {
    format!("{seq:08}").repeat(PIECE_BYTES / 8)
}

fn send(client: &mut TestClient, session: &str, seq: usize) {
    let input = json!({ "session": session, "data": piece(seq), "seq": seq });
    client.send_with_id(&seq.to_string(), "input", input);
}

/// Reads the next answer to an input. Returns its number, and the code of a refusal.
fn answer(client: &mut TestClient) -> (usize, Option<String>) {
    loop {
        let text = match client.read() {
            Message::Text(text) => text,
            Message::Close(frame) => panic!("closed: {frame:?}"),
            _ => continue,
        };
        let message: Value = serde_json::from_str(&text).unwrap();
        let Some(id) = message["reply_to"].as_str() else { continue };
        let code = message["payload"]["code"].as_str().map(str::to_owned);
        return (id.parse().unwrap(), code);
    }
}

/// Returns the checksum that the program prints for the whole paste.
fn checksum() -> String {
    let mut command = Command::new("cksum");
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = process.stdin.take().unwrap();
    for seq in 1..=PIECES {
        stdin.write_all(piece(seq).as_bytes()).unwrap();
    }
    drop(stdin);
    String::from_utf8(process.wait_with_output().unwrap().stdout).unwrap().trim_end().to_owned()
}

/// Returns the highest resident memory of a session's keeper so far, in MiB.
fn keeper_peak_mib(session: &str) -> u64 {
    let name = format!("rejoin: keeper {session}\0");
    let mut processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let is_keeper = |line: String| line.starts_with(&name);
    let keeper = processes
        .find(|path| fs::read_to_string(path.join("cmdline")).is_ok_and(is_keeper))
        .expect("a keeper");
    let status = fs::read_to_string(keeper.join("status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn a_paste_of_50_mb_arrives_exactly_once() {
    let home = TestHome::new();
    let bytes = PIECES * PIECE_BYTES;
    let script = format!(
        "stty raw -echo; echo ready; while [ ! -e go ]; do sleep 0.1; done; \
         head -c {bytes} | cksum; exec sleep 600"
    );
    let profile = format!(
        "[profiles.terminal]\ncommand = [\"sh\", \"-c\", \"{script}\"]\ncwd = \"{}\"\n",
        home.path("").display()
    );
    home.write("rejoin.toml", &profile);
    let server = home.start_server();
    let id = server.create_terminal();
    let screen = || server.admin_api().text(&format!("/sessions/{id}/screen"));
    wait_until(TIMEOUT, "the program runs", || screen().contains("ready"));
    let mut client = server.connect_as_admin();
    client.request("attach", json!({ "session": id, "writer": "tab" }));
    let (server_before, keeper_before) = (server.memory_mib().1, keeper_peak_mib(&id));

    // All at once, while the program does not read.
    for seq in 1..=PIECES {
        send(&mut client, &id, seq);
    }
    let (mut next, code) = answer(&mut client);
    assert_eq!(code.as_deref(), Some("input_full"), "input {next}");
    for seq in next + 1..=PIECES {
        let refused = (seq, Some("input_out_of_order".to_owned()));
        assert_eq!(answer(&mut client), refused);
    }

    // The program reads, and the client resends from the first refused input.
    home.write("go", "");
    let mut written = 0;
    while written < PIECES {
        while next <= PIECES && next <= written + IN_FLIGHT {
            send(&mut client, &id, next);
            next += 1;
        }
        match answer(&mut client) {
            (seq, None) => written = written.max(seq),
            (seq, Some(code)) => {
                assert!(["input_full", "input_out_of_order"].contains(&&*code), "{code}");
                next = next.min(seq);
            }
        }
    }

    let expected = checksum();
    wait_until(TIMEOUT, "the checksum", || screen().contains(" 52428800"));
    assert!(screen().contains(&expected), "{expected}: {}", screen());
    let (server_peak, keeper_peak) = (server.memory_mib().1, keeper_peak_mib(&id));
    assert!(server_peak - server_before < SERVER_MIB, "{server_before} to {server_peak} MiB");
    assert!(keeper_peak - keeper_before < KEEPER_MIB, "{keeper_before} to {keeper_peak} MiB");
}
