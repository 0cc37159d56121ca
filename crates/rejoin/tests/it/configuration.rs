//! The configuration, and what is said about mistakes in it.

use std::{ffi::OsString, fs, os::unix::ffi::OsStringExt};

use crate::support::{Home, complaint};

#[test]
fn a_right_configuration_is_said_to_be_right() {
    let home = Home::new();
    let right = "The configuration is right; it listens on 127.0.0.1:7400.\n";
    assert_eq!(home.prints(&["config", "check"]), right);
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
issuer = "somebody"
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
presence_grace = "0s"
[topics."news.*"]
retain = { frames = 10, bytes = 4096, age = "5m" }
slow_reader = "latest"
[topics."*"]
[sessions]
scrollback_lines = 0
scrollback_bytes = "64KiB"
[profiles.agent]
command = ["agent", "--quiet"]
cwd = "~/work"
env = { MODE = "plan" }
"#,
    );
    let right = "The configuration is right; it listens on [::1]:7500.\n";
    assert_eq!(home.prints(&["config", "check"]), right);
}

#[test]
fn a_mistake_is_told_with_its_line_and_what_is_allowed() {
    let cases = [
        (
            "[limits]\nauth_timeout = 10",
            "2: 10 is not a time; write \"500ms\", \"30s\", \"8h\" or so",
        ),
        (
            "[limits]\n\nheartbeat = \"9999years\"",
            "3: \"9999years\" is too long; write at most \"365d\"",
        ),
        (
            "[limits]\nmax_connections = 9223372036854775807",
            "2: 9223372036854775807 is not allowed; write a number from 1 to 10000000",
        ),
        (
            "[limits]\nmax_message_bytes = \"64 kibi\"",
            "2: \"64 kibi\" is not a size; write 65536, \"64KiB\", \"1MiB\" or so",
        ),
        (
            "[limits]\nauth_timeot = \"1s\"",
            "2: unknown field `auth_timeot`, expected one of \
             `max_connections`, `max_message_bytes`, `auth_timeout`, `heartbeat`, \
             `drain_window`, `max_handshakes`, `connections_per_ip`, \
             `max_connections_per_user`, `messages_per_second`, `bytes_per_second`, \
             `max_subscriptions`, `max_topics`, `max_topics_per_user`, \
             `max_retained_bytes_per_user`, `max_sessions_per_user`, `presence_grace`",
        ),
        (
            "\n[cluster]\nurl = \"\"",
            "2: unknown field `cluster`, expected one of \
             `server`, `auth`, `limits`, `topics`, `sessions`, `profiles`, `log`, \
             `webhooks`",
        ),
        (
            "[profiles.a]\ncommand = [\"a\"]\nidle_timeout = \"8h\"",
            "3: unknown field `idle_timeout`, expected one of `command`, `cwd`, `env`, \
             `install_hint`",
        ),
        (
            "[topics.a]\nslow_reader = \"skip\"",
            "2: \"skip\" is not allowed; write \"catch-up\", \"latest\" or \"disconnect\"",
        ),
        ("server = 1", "1: invalid type: integer `1`, expected a table"),
        (
            "[server]\nlisten = \"localhost\"",
            "2: \"localhost\" is not an address; write \"127.0.0.1:7400\" or \"[::1]:7400\"",
        ),
        (
            "[server]\nallowed_origins = [\"example.org\"]",
            "2: [\"example.org\"] is not a list of origins; write [\"https://example.org\"]",
        ),
        (
            "[auth.default_caps.topics]\n\"a\" = [\"read\"]",
            "2: unknown variant `read`, expected one of `subscribe`, `publish`, `presence`",
        ),
        (
            "[topics.\"a*b\"]",
            "1: \"a*b\" matches no topic: the topic must be 1 to 128 characters: \
             letters, digits, `.`, `_`, `:`, `-`, `/`, `@`, with or without a `*` at the end",
        ),
        (
            "[topics.a]\nretain = 5",
            "2: invalid type: integer `5`, expected a table such as { frames = 256 }",
        ),
        ("[sessions]\nscrollback_lines = -1", "2: -1 is not allowed; write 0 to 1000000 lines"),
        (
            "[sessions]\nscrollback_bytes = \"2GiB\"",
            "2: 2147483648 bytes are not allowed; write \"64KiB\" to \"1GiB\"",
        ),
        (
            "[profiles.a]\ncommand = \"bash -l\"",
            "2: \"bash -l\" is not a program and its arguments; write [\"$SHELL\", \"-l\"] or so",
        ),
        ("[profiles.a]\ncwd = \"/\"", "1: missing field `command`"),
        (
            "[profiles.Bad]\ncommand = [\"a\"]",
            "1: the profile name must be 1 to 32 characters: lower-case letters, digits, `_`, `-`",
        ),
        ("\n\n[limits", "3: unclosed table, expected `]`"),
    ];
    are_told(&cases);
}

#[test]
fn a_mistake_about_proxies_and_addresses_is_told_too() {
    are_told(&[
        (
            "[server]\n\ntrusted_proxies = [\"localhost\"]",
            "3: \"localhost\" is not an address or a network; \
             write \"127.0.0.1\" or \"10.0.0.0/8\"",
        ),
        (
            "[server]\ntrusted_proxies = \"10.0.0.1\"",
            "2: \"10.0.0.1\" is not a list of addresses and networks; \
             write [\"127.0.0.1\", \"10.0.0.0/8\"] or so",
        ),
        (
            "[limits]\nconnections_per_ip = 60",
            "2: invalid type: integer `60`, \
             expected a table such as { count = 60, window = \"60s\" }",
        ),
        (
            "[limits]\nconnections_per_ip = { count = -1 }",
            "2: -1 is not allowed; write 0 for no limit, or a number to 10000000",
        ),
    ]);
}

#[test]
fn a_mistake_about_the_base_path_and_the_limits_is_told_too() {
    let path = "is not a path; write \"/\" or \"/rejoin/\", of letters, digits and `-._~`";
    let of_path = ["", "rejoin", "/a b/", "/a//b", "/../", "/\u{e4}", "/<b>"]
        .map(|text| (format!("[server]\nbase_path = {text:?}"), format!("2: {text:?} {path}")));
    let of_path = of_path.each_ref().map(|(text, expected)| (text.as_str(), expected.as_str()));
    are_told(&of_path);
    are_told(&[
        (
            "[server]\nallowed_hosts = [\"https://example.org\"]",
            "2: [\"https://example.org\"] is not a list of hosts; write names without scheme and \
             port, such as [\"rejoin.example.org\"]",
        ),
        (
            "[profiles.a]\ncommand = [\"a\"]\ninstall_hint = \"\"",
            "3: \"\" is not a hint; write 1 to 500 bytes on one line",
        ),
        (
            "[server]\npublic_metrics = \"yes\"",
            "2: invalid type: string \"yes\", expected a boolean",
        ),
        ("[auth]\ntoken_in_url = 1", "2: invalid type: integer `1`, expected a boolean"),
        (
            "[limits]\nmessages_per_second = -1",
            "2: -1 is not allowed; write 0 for no limit, or a number to 10000000",
        ),
        (
            "[limits]\nmax_subscriptions = 0",
            "2: 0 is not allowed; write a number from 1 to 10000000",
        ),
        ("[server]\ndrain_delay = \"11m\"", "2: \"11m\" is not allowed; write \"0s\" to \"10m\""),
        ("[limits]\npresence_grace = \"2h\"", "2: \"2h\" is not allowed; write \"0s\" to \"1h\""),
    ]);
}

fn are_told(cases: &[(&str, &str)]) {
    let home = Home::new();
    for (text, expected) in cases {
        home.write("rejoin.toml", text);
        let expected = format!("rejoin.toml:{expected}");
        for command in [&["config", "check"][..], &["serve"], &["token", "--user", "ann"]] {
            assert_eq!(home.complains(command), expected, "{text}");
        }
    }
}

#[test]
fn a_mistake_about_who_gets_in_is_told_with_its_line() {
    let cases = [
        (
            "[auth]\njwks_url = \"http://login.example/keys\"",
            "2: \"http://login.example/keys\" is not an address for keys; \
             write https://HOST/PATH (http:// only to this machine)",
        ),
        (
            "[auth]\nleeway = \"301s\"",
            "2: \"301s\" is not allowed; write whole seconds from \"0s\" to \"5m\"",
        ),
        (
            "[auth]\nleeway = \"10ms\"",
            "2: \"10ms\" is not allowed; write whole seconds from \"0s\" to \"5m\"",
        ),
    ];
    let home = Home::new();
    for (text, expected) in cases {
        home.write("rejoin.toml", text);
        assert_eq!(home.complains(&["config", "check"]), format!("rejoin.toml:{expected}"));
    }
}

#[test]
fn tokens_are_verified_by_one_thing() {
    let home = Home::new();
    let keys = [
        ("hs256_secret_file", "secret"),
        ("public_key_file", "issuer.pem"),
        ("jwks_url", "https://login.example/keys"),
    ];
    for (index, (one, value)) in keys.iter().enumerate() {
        home.write("rejoin.toml", &format!("[auth]\n{one} = \"{value}\"\n"));
        home.prints(&["config", "check"]);
        for (other, value) in &keys[index + 1..] {
            let mut command = home.rejoin(&["config", "check"]);
            command.env(format!("REJOIN_AUTH_{}", other.to_uppercase()), value);
            let expected = format!(
                "`auth.{one}` and `auth.{other}` are both set; tokens are verified by one of them"
            );
            assert_eq!(complaint(command), expected);
        }
    }
}

#[test]
fn a_variable_wins_over_the_file_and_a_flag_over_both() {
    let home = Home::new();
    home.write("rejoin.toml", "[server]\nlisten = \"127.0.0.1:1\"\n");
    let says = |variable: &str, value: &str| {
        let mut command = home.rejoin(&["config", "check"]);
        command.env(variable, value);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let listens = |address| format!("The configuration is right; it listens on {address}.\n");
    assert_eq!(says("REJOIN_SERVER_LISTEN", "127.0.0.1:2"), listens("127.0.0.1:2"));
    assert_eq!(says("REJOIN_CONFIG", "/dev/null"), listens("127.0.0.1:7400"));
    // A name that looks like a number is a name all the same.
    assert_eq!(says("REJOIN_AUTH_AUDIENCE", "42"), listens("127.0.0.1:1"));
    let mut command = home.rejoin(&["serve", "--listen", "192.0.2.1:1"]);
    command.env("REJOIN_SERVER_LISTEN", "127.0.0.1:2");
    assert!(complaint(command).starts_with("cannot listen on 192.0.2.1:1: "));
}

#[test]
fn a_mistake_in_a_variable_is_told_with_its_name() {
    let home = Home::new();
    for (name, value, expected) in [
        (
            "REJOIN_LIMITS_AUTH_TIMEOUT",
            "soon",
            "\"soon\" is not a time; write \"500ms\", \"30s\", \"8h\" or so",
        ),
        ("REJOIN_AUTH_REQUIRED", "no", "invalid type: string \"no\", expected a boolean"),
        (
            "REJOIN_SESSIONS_LINES",
            "5",
            "unknown field `lines`, expected `scrollback_lines` or `scrollback_bytes`",
        ),
    ] {
        let mut command = home.rejoin(&["config", "check"]);
        command.env(name, value);
        assert_eq!(complaint(command), format!("{name}: {expected}"));
    }
    let mut command = home.rejoin(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("REJOIN_LOG", "loud=very");
    let complaint = complaint(command);
    assert!(complaint.starts_with("REJOIN_LOG: write a level, such as `debug`"), "{complaint}");
}

#[test]
fn a_certificate_and_its_key_are_named_together() {
    let home = Home::new();
    let expected = "set both `server.tls_certificate_file` and `server.tls_key_file`, or none";
    for key in ["tls_certificate_file", "tls_key_file"] {
        home.write("rejoin.toml", &format!("[server]\n{key} = \"a.pem\"\n"));
        assert_eq!(home.complains(&["config", "check"]), expected);
        assert_eq!(home.complains(&["serve"]), expected);
    }
    let mut command = home.rejoin(&["config", "check"]);
    command.env("REJOIN_SERVER_TLS_CERTIFICATE_FILE", "b.pem");
    assert!(command.output().unwrap().status.success(), "one may be a variable");
}

#[test]
fn a_variable_that_is_not_text_is_nobodys_business() {
    let home = Home::new();
    let mut command = home.rejoin(&["config", "check"]);
    command.env("OTHER", OsString::from_vec(vec![0xff]));
    assert!(command.output().unwrap().status.success());
}

#[test]
fn a_file_that_cannot_be_read_is_said() {
    let home = Home::new();
    let unreadable = |arguments: &[&str], expected: &str| {
        let complaint = home.complains(arguments);
        assert!(complaint.starts_with(expected), "{complaint}");
    };
    unreadable(
        &["serve", "--config", "missing.toml"],
        "cannot read missing.toml: No such file or directory",
    );
    fs::create_dir(home.path("rejoin.toml")).unwrap();
    unreadable(&["serve"], "cannot read rejoin.toml: Is a directory");
    fs::write(home.path("latin.toml"), [0xff]).unwrap();
    unreadable(&["config", "check", "--config", "latin.toml"], "cannot read latin.toml: ");
}

#[test]
fn without_a_home_the_data_directory_must_be_named() {
    let home = Home::new();
    let mut command = home.rejoin(&["config", "check"]);
    command.env_remove("HOME");
    let expected = "HOME is not set, so `server.data_dir` must be a path without `~`";
    assert_eq!(complaint(command), expected);
    let mut command = home.rejoin(&["config", "check", "--data-dir", "data"]);
    assert!(command.env_remove("HOME").output().unwrap().status.success());
}

#[test]
fn a_mistake_about_logs_and_webhooks_is_told_with_its_line() {
    let cases = [
        (
            "[log]\nlevel = \"loud=very\"",
            "2: \"loud=very\" is no level; write \"debug\", or \"rejoin_gateway=debug,info\"",
        ),
        ("[log]\nformat = \"xml\"", "2: unknown variant `xml`, expected `text` or `json`"),
        (
            "[webhooks.events]\nurl = \"http://app.example/\"\nsecret_file = \"s\"",
            "1: a webhook's address must be `https://`, or `http://` to this machine or where \
             `insecure` allows it, without a name or password in it",
        ),
        ("[webhooks.events]\nurl = \"https://a.example\"", "1: missing field `secret_file`"),
        (
            "[webhooks.messages.publish]\nurl = \"https://a.example\"\nsecret_file = \"s\"",
            "1: the message type `publish` is built in; choose another name",
        ),
        #[cfg(not(feature = "otlp"))]
        (
            "[log]\notlp_endpoint = \"http://127.0.0.1:4318\"",
            "2: this `rejoin` was built without OTLP; build it with `--features otlp`",
        ),
    ];
    let home = Home::new();
    for (text, expected) in cases {
        home.write("rejoin.toml", text);
        assert_eq!(home.complains(&["config", "check"]), format!("rejoin.toml:{expected}"));
    }
}
