//! The lines above a terminal's screen, read a page at a time.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{TestHome, TestServer, frame_client::FrameClient, wait_until};

/// Time limit for a program and its screen.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Largest snapshot of an ordinary screen, in bytes.
const MAX_SCREEN_BYTES: usize = 50 * 1000;
/// Largest page, in bytes.
const MAX_PAGE_BYTES: usize = 64 * 1024;
/// The kind of a snapshot, the first byte of its binary message.
const SNAPSHOT: u8 = 3;

/// Starts a server whose profile `lines` runs a script, which sets the title `printed`.
fn server(home: &TestHome, script: &str) -> TestServer {
    let profile = format!("[profiles.lines]\ncommand = [\"sh\", \"-c\", {script:?}]\n");
    home.write("rejoin.toml", &format!("[sessions]\nscrollback_lines = 100000\n{profile}"));
    home.start_server()
}

/// Returns a script that numbers its lines from 0. After `count` lines it executes `rest`.
fn numbered(count: u32, rest: &str) -> String {
    let last = count - 1;
    format!(
        "stty -echo; seq -f 'line %.0f' 0 {last}; printf '\\33]2;printed\\7'; {rest} \
         exec sleep 3600"
    )
}

/// Starts the profile with 80 columns and 24 rows, and waits until it has printed its lines.
fn start(server: &TestServer, client: &mut FrameClient) -> String {
    let create = json!({ "kind": "terminal", "profile": "lines", "cols": 80, "rows": 24 });
    let created = client.request("create_session", create);
    let session = created["payload"]["session"]["id"].as_str().expect("a session").to_owned();

    let path = format!("/sessions/{session}");
    let admin = server.admin_api();
    wait_until(TIMEOUT, "the lines are printed", || admin.get(&path).1["title"] == "printed");
    session
}

/// Attaches. Returns the history above the snapshot, and the snapshot.
fn attach(client: &mut FrameClient, session: &str) -> (Value, Vec<u8>) {
    let attached = client.request("attach", json!({ "session": session, "role": "viewer" }));
    assert_eq!(attached["type"], "attached", "{attached}");

    let update = client.wait_for(|message| message["payload"]["history"].is_object()).unwrap();
    let history = update["payload"]["history"].clone();
    let lines = history["end"].as_u64().unwrap() - history["first"].as_u64().unwrap();
    assert_eq!(attached["payload"]["history_omitted"].as_u64().unwrap_or(0), lines, "{attached}");

    let snapshot = client.read_binary();
    assert_eq!(snapshot[0], SNAPSHOT);
    (history, snapshot)
}

/// Returns the numbered lines of a page.
fn numbers(page: &Value) -> Vec<u64> {
    let data = page["data"].as_str().unwrap();
    assert!(data.len() <= MAX_PAGE_BYTES, "{} bytes", data.len());
    let lines = data.split("\r\n").filter(|line| !line.is_empty());
    lines.map(|line| line.strip_prefix("line ").unwrap().parse().unwrap()).collect()
}

#[test]
fn an_attach_after_long_output_sends_one_screen() {
    let home = TestHome::new();
    let server = server(&home, &numbered(90_000, ""));
    let mut client = server.frame_client(server.admin_token(), "laptop");

    let session = start(&server, &mut client);
    let (history, snapshot) = attach(&mut client, &session);

    assert_eq!(history, json!({ "generation": 0, "first": 0, "end": 90_000 - 23 }));
    assert!(snapshot.len() < MAX_SCREEN_BYTES, "{} bytes", snapshot.len());
    let text = String::from_utf8_lossy(&snapshot);
    assert!(text.contains("line 89977") && !text.contains("line 89976"), "{text}");
}

#[test]
fn pages_are_compressed_for_clients_that_negotiated_it() {
    let home = TestHome::new();
    let server = server(&home, &numbered(3000, ""));
    let mut client = server.frame_client(server.admin_token(), "laptop");
    let session = start(&server, &mut client);
    let token = server.admin_token();
    let headers = format!(
        "Authorization: Bearer {token}\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
    );
    let mut compressing = server.open_socket_with("/ws", &headers).unwrap();

    let query = json!({ "session": session, "lines": 1000 });
    let [plain, compressed] =
        [&mut client, &mut compressing].map(|client| client.request("history", query.clone()));
    assert_eq!(compressed["payload"], plain["payload"]);
    assert_eq!(numbers(&compressed["payload"]).len(), 1000);
    let size = plain["payload"].to_string().len();
    // 0 without a compressed message.
    let on_the_wire = compressing.last_compressed;
    assert!((1..size / 2).contains(&on_the_wire), "{on_the_wire} bytes");
}

#[test]
fn pages_during_output_have_each_line_once() {
    let home = TestHome::new();
    let rest = "n=20000; while [ $n -lt 90000 ]; do echo line $n; n=$((n + 1)); done;";
    let server = server(&home, &numbered(20_000, rest));
    let mut client = server.frame_client(server.admin_token(), "laptop");

    let session = start(&server, &mut client);
    let (history, _) = attach(&mut client, &session);
    let admin = server.admin_api();
    let mut before = history["end"].as_u64().unwrap();

    while before > 0 {
        let request =
            json!({ "session": session, "generation": 0, "before": before, "lines": 1000 });
        let page = client.request("history", request);
        assert_eq!(page["type"], "history", "{page}");

        let mut page = page["payload"].clone();
        let (from, to) = (page["from"].as_u64().unwrap(), page["to"].as_u64().unwrap());
        assert_eq!((to, to - from), (before, 1000.min(before)), "{from} to {to}");
        assert_eq!(numbers(&page), (from..to).collect::<Vec<_>>());

        // The same page over HTTP. Only the end of the history has moved.
        let path = format!("/sessions/{session}/history?before={before}&generation=0&lines=1000");
        let (status, mut same) = admin.get(&path);
        assert_eq!(status, 200, "{same}");
        assert!(same["end"].as_u64() >= page["end"].as_u64());
        (page["end"], same["end"]) = (Value::Null, Value::Null);
        assert_eq!(same, page);

        before = from;
    }
}

#[test]
fn a_page_without_a_line_number_ends_above_the_screen() {
    let home = TestHome::new();
    let server = server(&home, &numbered(500, ""));
    let mut client = server.frame_client(server.admin_token(), "laptop");
    let session = start(&server, &mut client);

    // Needs no attachment.
    let page = client.request("history", json!({ "session": session }));
    assert_eq!(numbers(&page["payload"]), (277..477).collect::<Vec<_>>());

    // Nothing precedes the first line. A number after the last one stands for the last one.
    let admin = server.admin_api();
    let page = |query: &str| admin.get(&format!("/sessions/{session}/history?{query}")).1;
    assert_eq!(numbers(&page("before=0")), Vec::<u64>::new());
    assert_eq!(numbers(&page("before=18446744073709551615&lines=2")), [475, 476]);
}

#[test]
fn a_change_of_columns_voids_line_numbers() {
    let home = TestHome::new();
    let long = "seq -f 'a long line that rewraps at forty columns, number %.0f' 1 300;";
    let script = format!("{long} {}", numbered(30, ""));
    let server = server(&home, &script);
    let mut client = server.frame_client(server.admin_token(), "laptop");

    let session = start(&server, &mut client);
    let (history, _) = attach(&mut client, &session);
    assert_eq!(history["generation"], 0);

    let admin = server.admin_api();
    let resize = json!({ "cols": 40, "rows": 24 });
    assert_eq!(admin.post(&format!("/sessions/{session}/resize"), &resize).0, 204);

    // The readers get the screen as the server has rewrapped it.
    client.wait_for(|message| message["payload"]["cols"] == 40).unwrap();
    let update = client.wait_for(|message| message["payload"]["history"].is_object()).unwrap();
    let rewrapped = update["payload"]["history"].clone();
    assert_eq!(rewrapped["generation"], 1, "{update}");
    assert_eq!(client.read_binary()[0], SNAPSHOT);

    // Numbers of the earlier generation name no lines.
    let before = history["end"].clone();
    let old = json!({ "session": session, "generation": 0, "before": before });
    let page = client.request("history", old)["payload"].clone();
    assert_eq!((&page["rewrapped"], &page["data"]), (&json!(true), &json!("")), "{page}");
    assert_eq!((&page["generation"], &page["from"]), (&json!(1), &page["to"]), "{page}");

    let new = json!({ "session": session, "generation": 1, "before": rewrapped["end"] });
    let page = client.request("history", new)["payload"].clone();
    assert_eq!((&page["rewrapped"], &page["cols"]), (&json!(false), &json!(40)), "{page}");
    assert_eq!(page["to"], rewrapped["end"], "{page}");
}

#[test]
fn history_requires_the_right_to_attach() {
    let home = TestHome::new();
    let server = server(&home, &numbered(100, ""));
    let mut client = server.frame_client(server.admin_token(), "laptop");
    let session = start(&server, &mut client);

    // A session of another user looks like a missing one.
    let token = home.token("bob", "1h");
    let mut bob = server.frame_client(&token, "phone");
    for session in [&*session, "none"] {
        let refused = bob.request("history", json!({ "session": session }));
        assert_eq!(refused["payload"]["code"], "unknown_session", "{refused}");
        let path = format!("/sessions/{session}/history");
        assert_eq!(server.api(&token).status(&path), 404);
    }
}

#[test]
fn invalid_pages_get_an_error_that_names_the_field() {
    let home = TestHome::new();
    let server = server(&home, &numbered(100, ""));
    let mut client = server.frame_client(server.admin_token(), "laptop");
    let session = start(&server, &mut client);
    let admin = server.admin_api();

    for (field, value) in [
        ("lines", json!(0)),
        ("lines", json!(1001)),
        ("lines", json!("many")),
        ("before", json!(-1)),
        ("before", json!(1.5)),
        ("generation", json!(4_294_967_296_u64)),
    ] {
        let mut request = json!({ "session": session });
        request[field] = value.clone();
        let refused = client.request("history", request);
        assert_eq!(refused["payload"]["code"], "invalid_field", "{refused}");
        let message = refused["payload"]["message"].as_str().unwrap();
        assert!(message.contains(&format!("`{field}`")), "{message}");

        let value = value.to_string();
        let path = format!("/sessions/{session}/history?{field}={}", value.trim_matches('"'));
        let (status, problem) = admin.get(&path);
        assert_eq!(status, 400, "{path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(field), "{problem}");
    }
}
