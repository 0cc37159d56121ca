//! The errors of the configuration: each names its line and the allowed values.

use crate::support::{TestHome, error_line};

/// Checks the error of each configuration.
///
/// An expected text that ends in `…` is a prefix: the rest is written by another crate.
fn assert_errors(cases: &[(&str, &str)]) {
    let home = TestHome::new();
    for (text, expected) in cases {
        home.write("rejoin.toml", text);
        let expected = format!("rejoin.toml:{expected}");

        for command in [&["config", "check"][..], &["serve"], &["token", "--user", "ann"]] {
            let error = home.error_of(command);
            match expected.strip_suffix('…') {
                Some(prefix) => assert!(error.starts_with(prefix), "{text}: {error}"),
                None => assert_eq!(error, expected, "{text}"),
            }
        }
    }
}

#[test]
fn an_unknown_key_is_reported_with_the_known_ones() {
    assert_errors(&[
        (
            "[limits]\nauth_timeot = \"1s\"",
            "2: unknown field `auth_timeot`, expected one of \
             `max_connections`, `max_message_bytes`, `auth_timeout`, `heartbeat`, \
             `drain_window`, `max_handshakes`, `connections_per_ip`, \
             `max_connections_per_user`, `messages_per_second`, `bytes_per_second`, \
             `max_subscriptions`, `max_topics`, `max_topics_per_user`, \
             `max_retained_bytes_per_user`, `max_sessions_per_user`, \
             `max_disk_bytes_per_user`, `max_disk_bytes`, `presence_grace`",
        ),
        (
            "\n[cluster]\nurl = \"\"",
            "2: unknown field `cluster`, expected one of \
             `server`, `auth`, `limits`, `topics`, `emits`, `sessions`, `store`, \
             `profiles`, `log`, `webhooks`",
        ),
        (
            "[profiles.a]\ncommand = [\"a\"]\ntimeout = \"8h\"",
            "3: unknown field `timeout`, expected one of `command`, `cwd`, `env`, \
             `install_hint`, `idle_timeout`",
        ),
        ("[webhooks.events]\nurl = \"https://a.example\"", "1: missing field `secret_file`"),
        ("[profiles.a]\ncwd = \"/\"", "1: missing field `command`"),
    ]);
}

#[test]
fn a_wrong_type_or_syntax_is_reported() {
    assert_errors(&[
        ("\n\n[limits", "3: unclosed table, expected `]`"),
        ("server = 1", "1: invalid type: integer `1`, expected a table"),
        (
            "[topics.a]\nretain = 5",
            "2: invalid type: integer `5`, expected a table such as { frames = 256 }",
        ),
        (
            "[limits]\nconnections_per_ip = 60",
            "2: invalid type: integer `60`, \
             expected a table such as { count = 60, window = \"60s\" }",
        ),
        (
            "[server]\npublic_metrics = \"yes\"",
            "2: invalid type: string \"yes\", expected a boolean",
        ),
        ("[auth]\ntoken_in_url = 1", "2: invalid type: integer `1`, expected a boolean"),
    ]);
}

#[test]
fn a_wrong_quantity_is_reported_with_its_range() {
    assert_errors(&[
        (
            "[limits]\nauth_timeout = 10",
            "2: 10 is not a duration; write for example \"500ms\", \"30s\" or \"8h\", and at most \
             \"365d\"",
        ),
        ("[limits]\n\nheartbeat = \"9999years\"", "3: \"9999years\" is not a duration; …"),
        (
            "[server]\ndrain_delay = \"11m\"",
            "2: \"11m\" is not allowed; write a duration from \"0s\" to \"10m\"",
        ),
        (
            "[limits]\npresence_grace = \"2h\"",
            "2: \"2h\" is not allowed; write a duration from \"0s\" to \"1h\"",
        ),
        (
            "[auth]\nleeway = \"301s\"",
            "2: \"301s\" is not allowed; write whole seconds from \"0s\" to \"5m\"",
        ),
        (
            "[auth]\nleeway = \"10ms\"",
            "2: \"10ms\" is not allowed; write whole seconds from \"0s\" to \"5m\"",
        ),
        (
            "[limits]\nmax_connections = 9223372036854775807",
            "2: 9223372036854775807 is not allowed; write a number from 1 to 10000000",
        ),
        (
            "[limits]\nmax_subscriptions = 0",
            "2: 0 is not allowed; write a number from 1 to 10000000",
        ),
        (
            "[limits]\nmessages_per_second = -1",
            "2: -1 is not allowed; write 0 for no limit, or a number from 1 to 10000000",
        ),
        (
            "[limits]\nconnections_per_ip = { count = -1 }",
            "2: -1 is not allowed; write 0 for no limit, or a number from 1 to 10000000",
        ),
        (
            "[limits]\nmax_message_bytes = \"64 kibi\"",
            "2: \"64 kibi\" is not a size; write for example 65536, \"64KiB\" or \"1MiB\"",
        ),
        ("[limits]\nmax_message_bytes = -1", "2: -1 is not a size; …"),
        ("[limits]\nmax_message_bytes = \"0.5B\"", "2: \"0.5B\" is not a size; …"),
        (
            "[sessions]\nscrollback_lines = -1",
            "2: -1 is not allowed; write a number of lines from 0 to 1000000",
        ),
        (
            "[sessions]\nscrollback_bytes = \"2GiB\"",
            "2: 2147483648 bytes are not allowed; write a size from \"64KiB\" to \"1GiB\"",
        ),
        (
            "[sessions]\nmemory_max = \"1MiB\"",
            "2: 1048576 bytes are not allowed; write at least \"4MiB\"",
        ),
        ("[sessions]\ntasks_max = 0", "2: 0 is not allowed; write a number from 1 to 10000000"),
        (
            "[sessions]\nlog_bytes = 4096",
            "2: 4096 bytes are not allowed; write a size from \"1MiB\" to \"1GiB\"",
        ),
    ]);
}

#[test]
fn a_wrong_address_is_reported_with_an_example() {
    assert_errors(&[
        (
            "[server]\nlisten = \"localhost\"",
            "2: \"localhost\" is not an address; write an IP address with a port, such as \
             \"127.0.0.1:7400\" or \"[::1]:7400\"",
        ),
        (
            "[server]\nallowed_origins = [\"example.org\"]",
            "2: [\"example.org\"] is not a list of origins; write for example \
             [\"https://example.org\"]",
        ),
        (
            "[server]\nallowed_hosts = [\"https://example.org\"]",
            "2: [\"https://example.org\"] is not a list of hosts; write names without scheme and \
             port, such as [\"rejoin.example.org\"]",
        ),
        (
            "[server]\ntrusted_proxies = \"10.0.0.1\"",
            "2: \"10.0.0.1\" is not a list of addresses and networks; \
             write for example [\"127.0.0.1\", \"10.0.0.0/8\"]",
        ),
        ("[server]\n\ntrusted_proxies = [\"localhost\"]", "3: \"localhost\" …"),
        ("[auth]\njwks_url = \"http://login.example/\"", "2: \"http://login.example/\" …"),
        (
            "[webhooks.events]\nurl = \"http://app.example/\"\nsecret_file = \"s\"",
            "1: a webhook's address must be `https://`…",
        ),
    ]);
}

#[test]
fn a_wrong_base_path_is_reported() {
    // Paths that would need encoding in a URL or escaping in a page.
    for path in ["", "rejoin", "/a b/", "/a//b", "/../", "/\u{e4}", "/<b>"] {
        let text = format!("[server]\nbase_path = {path:?}");
        let expected = format!(
            "2: {path:?} is not a path; write for example \"/\" or \"/rejoin/\", with letters, \
             digits and `-._~` only"
        );
        assert_errors(&[(text.as_str(), expected.as_str())]);
    }
}

#[test]
fn a_wrong_name_or_choice_is_reported() {
    assert_errors(&[
        (
            "[topics.a]\nslow_reader = \"skip\"",
            "2: \"skip\" is not allowed; write \"catch-up\", \"latest\" or \"disconnect\"",
        ),
        (
            "[topics.\"a*b\"]",
            "1: \"a*b\" is not a topic, nor a prefix with `*` at its end: the topic must be …",
        ),
        (
            "[auth.default_caps.topics]\n\"a\" = [\"read\"]",
            "2: unknown variant `read`, expected one of `subscribe`, `publish`, `presence`",
        ),
        ("[profiles.Bad]\ncommand = [\"a\"]", "1: the profile name must be …"),
        (
            "[profiles.a]\ncommand = \"bash -l\"",
            "2: \"bash -l\" is not a list of a program and its arguments; write for example \
             [\"$SHELL\", \"-l\"]",
        ),
        (
            "[profiles.a]\ncommand = [\"a\"]\ninstall_hint = \"\"",
            "3: \"\" is not a hint; write 1 to 500 bytes on one line",
        ),
        (
            "[webhooks.messages.publish]\nurl = \"https://a.example\"\nsecret_file = \"s\"",
            "1: the message type `publish` is built in; choose another name",
        ),
        (
            "[webhooks.messages.move]\nurl = \"https://a.example\"\nsecret_file = \"s\"\n\
             events = []",
            "1: `events` is allowed in `webhooks.events` only; remove it",
        ),
        ("[log]\nformat = \"xml\"", "2: unknown variant `xml`, expected `text` or `json`"),
        (
            "[log]\nlevel = \"loud=very\"",
            "2: \"loud=very\" is not a log level; write for example \"debug\" or \
             \"rejoin_gateway=debug,info\"",
        ),
        #[cfg(not(feature = "otlp"))]
        (
            "[log]\notlp_endpoint = \"http://127.0.0.1:4318\"",
            "2: this `rejoin` was built without OTLP; build it with `--features otlp`",
        ),
    ]);
}

#[test]
fn a_wrong_variable_is_reported_with_its_name() {
    let home = TestHome::new();

    for (name, value, expected) in [
        (
            "REJOIN_LIMITS_AUTH_TIMEOUT",
            "soon",
            "\"soon\" is not a duration; write for example \"500ms\", \"30s\" or \"8h\", and at \
             most \"365d\"",
        ),
        ("REJOIN_AUTH_REQUIRED", "no", "invalid type: string \"no\", expected a boolean"),
        (
            "REJOIN_SESSIONS_LINES",
            "5",
            "unknown field `lines`, expected one of `scrollback_lines`, `scrollback_bytes`, \
             `idle_timeout`, `retention`, `log_bytes`, `memory_max`, `tasks_max`",
        ),
    ] {
        let mut command = home.rejoin(&["config", "check"]);
        command.env(name, value);
        assert_eq!(error_line(command), format!("{name}: {expected}"));
    }

    // Read when the log starts, so only `serve` reports it.
    let mut command = home.rejoin(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("REJOIN_LOG", "loud=very");
    let error = error_line(command);
    assert!(
        error.starts_with("REJOIN_LOG is not a log level; write for example `debug`"),
        "{error}"
    );
}
