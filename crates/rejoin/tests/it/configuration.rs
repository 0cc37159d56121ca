//! The sources of the configuration and their order.

use std::{ffi::OsString, fs, os::unix::ffi::OsStringExt};

use crate::support::{TestHome, error_line};

#[test]
fn a_valid_configuration_passes_the_check() {
    let home = TestHome::new();
    let valid = "The configuration is valid. The server listens on 127.0.0.1:7400.\n";
    assert_eq!(home.output_of(&["config", "check"]), valid);

    home.write(
        "rejoin.toml",
        r#"
[server]
listen = "[::1]:7500"
data_dir = "~/data"
allowed_origins = ["https://example.org"]
allowed_hosts = ["rejoin.example.org"]
trusted_proxies = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"]
tls_certificate_file = "~/certificate.pem"
tls_key_file = "key.pem"
base_path = "/a/rejoin"
public_metrics = true
drain_delay = "5s"
[auth]
token_in_url = true
hs256_secret_file = "~/secret"
issuer = "login.example"
leeway = "5m"
[auth.default_caps.topics]
"news.*" = ["subscribe"]
[limits]
max_connections = 5
max_message_bytes = "1MiB"
heartbeat = "1m 30s"
drain_window = "1m"
max_handshakes = 10
connections_per_ip = { count = 0 }
max_connections_per_user = 3
messages_per_second = 100
bytes_per_second = 1000
max_subscriptions = 10
max_topics = 100
max_topics_per_user = 10
max_sessions_per_user = 5
max_disk_bytes_per_user = "100MiB"
max_disk_bytes = "1GiB"
presence_grace = "0s"
[topics."news.*"]
retain = { frames = 10, bytes = 4096, age = "5m" }
slow_reader = "latest"
[topics."*"]
[sessions]
scrollback_lines = 0
scrollback_bytes = "64KiB"
log_bytes = "1MiB"
memory_max = "512MiB"
tasks_max = 200
[profiles.agent]
command = ["agent", "--quiet"]
cwd = "~/work"
env = { MODE = "plan" }
"#,
    );

    let valid = "The configuration is valid. The server listens on [::1]:7500.\n";
    assert_eq!(home.output_of(&["config", "check"]), valid);
}

#[test]
fn flags_override_variables_and_variables_override_the_file() {
    let home = TestHome::new();
    home.write("rejoin.toml", "[server]\nlisten = \"127.0.0.1:1\"\n");

    let check_with = |variable: &str, value: &str| {
        let mut command = home.rejoin(&["config", "check"]);
        command.env(variable, value);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let listens =
        |address| format!("The configuration is valid. The server listens on {address}.\n");
    assert_eq!(check_with("REJOIN_SERVER_LISTEN", "127.0.0.1:2"), listens("127.0.0.1:2"));
    assert_eq!(check_with("REJOIN_CONFIG", "/dev/null"), listens("127.0.0.1:7400"));
    // The value of a string key may look like a number.
    assert_eq!(check_with("REJOIN_AUTH_AUDIENCE", "42"), listens("127.0.0.1:1"));

    // An address of the documentation range: the bind fails and names it.
    let mut command = home.rejoin(&["serve", "--listen", "192.0.2.1:1"]);
    command.env("REJOIN_SERVER_LISTEN", "127.0.0.1:2");

    assert!(error_line(command).starts_with("cannot listen on 192.0.2.1:1: "));
}

#[test]
fn a_variable_that_is_not_utf8_is_ignored() {
    let home = TestHome::new();
    let mut command = home.rejoin(&["config", "check"]);
    command.env("OTHER", OsString::from_vec(vec![0xff]));

    assert!(command.output().unwrap().status.success());
}

#[test]
fn an_unreadable_file_is_reported() {
    let home = TestHome::new();

    let assert_unreadable = |arguments: &[&str], expected: &str| {
        let error = home.error_of(arguments);
        assert!(error.starts_with(expected), "{error}");
    };
    assert_unreadable(
        &["serve", "--config", "missing.toml"],
        "cannot read missing.toml: No such file or directory",
    );

    fs::create_dir(home.path("rejoin.toml")).unwrap();
    assert_unreadable(&["serve"], "cannot read rejoin.toml: Is a directory");

    fs::write(home.path("latin.toml"), [0xff]).unwrap();
    assert_unreadable(&["config", "check", "--config", "latin.toml"], "cannot read latin.toml: ");
}

#[test]
fn the_data_directory_must_be_set_without_a_home() {
    let home = TestHome::new();
    let mut command = home.rejoin(&["config", "check"]);
    command.env_remove("HOME");

    let expected = "HOME is not set; set `server.data_dir` to a path without `~`";
    assert_eq!(error_line(command), expected);

    let mut command = home.rejoin(&["config", "check", "--data-dir", "data"]);

    assert!(command.env_remove("HOME").output().unwrap().status.success());
}

#[test]
fn at_most_one_key_is_set() {
    let home = TestHome::new();
    let keys = [
        ("hs256_secret_file", "secret"),
        ("public_key_file", "issuer.pem"),
        ("jwks_url", "https://login.example/keys"),
    ];
    for (index, (one, value)) in keys.iter().enumerate() {
        home.write("rejoin.toml", &format!("[auth]\n{one} = \"{value}\"\n"));
        home.output_of(&["config", "check"]);

        for (other, value) in &keys[index + 1..] {
            let mut command = home.rejoin(&["config", "check"]);
            command.env(format!("REJOIN_AUTH_{}", other.to_uppercase()), value);
            let expected =
                format!("`auth.{one}` and `auth.{other}` are both set; set only one of them");
            assert_eq!(error_line(command), expected);
        }
    }
}

#[test]
fn a_certificate_and_its_key_are_set_together() {
    let home = TestHome::new();

    let expected = "set both `server.tls_certificate_file` and `server.tls_key_file`, or neither";
    for key in ["tls_certificate_file", "tls_key_file"] {
        home.write("rejoin.toml", &format!("[server]\n{key} = \"a.pem\"\n"));
        assert_eq!(home.error_of(&["config", "check"]), expected);
        assert_eq!(home.error_of(&["serve"]), expected);
    }

    let mut command = home.rejoin(&["config", "check"]);
    command.env("REJOIN_SERVER_TLS_CERTIFICATE_FILE", "b.pem");

    assert!(command.output().unwrap().status.success(), "a variable may set one of them");
}
