//! What a server does that cannot do what it should: one clear line, or a word to who asked.

use std::{fs, net::TcpListener};

use crate::support::{Home, Server, complaint};

#[test]
fn a_taken_port_is_said() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let complaint = home.complains(&["serve", "--listen", &address]);
    let expected = format!("cannot listen on {address}: Address already in use");
    assert!(complaint.starts_with(&expected), "{complaint}");
}

#[test]
fn a_short_secret_is_said() {
    let home = Home::new();
    home.write("key", "too short\n");
    home.write("rejoin.toml", "[auth]\nhs256_secret_file = \"~/key\"\n");
    let path = home.path("key");
    let expected = format!("{}: an HS256 secret must be at least 32 bytes, not 9", path.display());
    assert_eq!(home.complains(&["serve"]), expected);
    assert_eq!(home.complains(&["token", "--user", "ann"]).matches(&expected).count(), 1);
}

#[test]
fn a_secret_that_is_not_there_is_said() {
    let home = Home::new();
    home.write("rejoin.toml", "[auth]\nhs256_secret_file = \"~/key\"\n");
    let complaint = home.complains(&["serve"]);
    let expected = format!("cannot read {}: No such file", home.path("key").display());
    assert!(complaint.starts_with(&expected), "{complaint}");
    home.write("rejoin.toml", "");
    let complaint = home.complains(&["token", "--user", "ann"]);
    let expected = "the server's secret is made at its first start: cannot read ";
    assert!(complaint.starts_with(expected), "{complaint}");
}

#[test]
fn a_full_disk_is_said_and_leaves_no_half_secret() {
    let home = Home::new();
    // No file may grow, as on a disk without room.
    let serve = "trap '' XFSZ; ulimit -f 0; exec \"$0\" serve --listen 127.0.0.1:0";
    let mut command = home.program("sh");
    command.args(["-c", serve, env!("CARGO_BIN_EXE_rejoin")]);
    let complaint = complaint(command);
    let expected = format!("cannot write {}: File too large", home.secret().display());
    assert!(complaint.starts_with(&expected), "{complaint}");
    assert_eq!(fs::read_dir(home.secret().parent().unwrap()).unwrap().count(), 0);
}

#[test]
fn a_data_directory_that_cannot_be_made_is_said() {
    let home = Home::new();
    home.write("file", "");
    let complaint = home.complains(&["serve", "--data-dir", "file/data"]);
    assert!(complaint.starts_with("cannot make the data directory file/data: "), "{complaint}");
}

#[test]
fn a_profile_that_cannot_start_says_why_to_who_asked() {
    let home = Home::new();
    home.write(
        "rejoin.toml",
        r#"
[profiles.gone]
command = ["no-such-program"]
[profiles.hinted]
command = ["no-such-agent"]
install_hint = "ask ann for it"
[profiles.unset]
command = ["$AGENT"]
[profiles.nowhere]
command = ["sh"]
cwd = "~/nowhere"
"#,
    );
    let server = home.serve();
    let mut client = server.log_in();
    let nowhere = format!("there is no directory `{}`", home.path("nowhere").display());
    for (profile, sentence) in [
        (
            "gone",
            "the profile `gone` could not be started: \
             the command `no-such-program` does not exist on the server",
        ),
        (
            "hinted",
            "the profile `hinted` could not be started: \
             the command `no-such-agent` does not exist on the server; ask ann for it",
        ),
        (
            "claude",
            "the profile `claude` could not be started: \
             the command `claude` does not exist on the server; \
             install it with `npm install -g @anthropic-ai/claude-code`, \
             or name another command in `profiles.claude.command`",
        ),
        (
            "unset",
            "the profile `unset` could not be started: \
             its command names `$AGENT`, which is not set",
        ),
        ("nowhere", &format!("the profile `nowhere` could not be started: {nowhere}")),
    ] {
        let answer = client.create(profile);
        assert_eq!(answer["payload"]["code"], "start_failed", "{answer}");
        assert_eq!(answer["payload"]["message"], sentence);
    }
    let answer = client.create("other");
    assert_eq!(answer["payload"]["code"], "unknown_profile", "{answer}");
    let known = answer["payload"]["message"].as_str().unwrap();
    assert!(
        known.contains("`claude`, `gone`, `hinted`, `nowhere`, `terminal`, `unset`"),
        "{known}"
    );
    let answer = client.create("terminal");
    assert_eq!(answer["type"], "ack", "the server goes on: {answer}");
}

#[test]
fn a_server_that_lets_everybody_in_says_so() {
    let home = Home::new();
    let mut command = home.rejoin(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("REJOIN_AUTH_REQUIRED", "false");
    let server = Server::start(&home, command);
    assert_eq!(server.connect().ask("ping", serde_json::json!({}))["type"], "pong");
    let (_, log) = server.stop(rustix::process::Signal::TERM);
    assert!(log.contains("auth.required is false"), "{log}");
}
