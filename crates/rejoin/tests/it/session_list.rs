//! The list of sessions: order, pages, filters.

use serde_json::{Value, json};

use crate::support::{TestHome, TestServer, api_client::ApiClient};

/// Default number of sessions per page.
const PAGE_SIZE: usize = 100;

fn start_server(home: &TestHome) -> TestServer {
    let profiles =
        "[profiles.terminal]\ncommand = [\"cat\"]\n[profiles.once]\ncommand = [\"true\"]\n";
    home.write("rejoin.toml", profiles);
    home.start_server()
}

fn create_session(api: &ApiClient, new: &Value) {
    let (status, body) = api.post("/sessions", new);
    assert_eq!(status, 201, "{body}");
}

/// Returns the ids on a page and the cursor of the next page.
fn page(api: &ApiClient, query: &str) -> (Vec<String>, Value) {
    let (status, page) = api.get(&format!("/sessions?{query}"));
    assert_eq!(status, 200, "{page}");

    let sessions = page["sessions"].as_array().unwrap().iter();
    let ids = sessions.map(|session| session["id"].as_str().unwrap().to_owned()).collect();
    (ids, page["next"].clone())
}

#[test]
fn a_new_session_is_on_the_first_page() {
    let home = TestHome::new();
    let server = start_server(&home);
    let api = server.admin_api();

    for number in 0..=PAGE_SIZE {
        // The order of the ids differs from the order of creation.
        create_session(&api, &json!({ "id": format!("{}-{number}", number * 7 % 10) }));
    }

    let (first, next) = page(&api, "");
    assert_eq!((first.len(), first[0].as_str()), (PAGE_SIZE, "0-100"));

    let (second, end) = page(&api, &format!("after={}", next.as_str().unwrap()));
    assert_eq!((second, end), (vec!["0-0".to_owned()], Value::Null));
}

#[test]
fn sessions_are_found_by_text_state_and_owner() {
    let home = TestHome::new();
    let server = start_server(&home);
    let (ann, bob) = (server.admin_api(), server.api(&home.token("bob", "1h")));

    create_session(&ann, &json!({ "id": "one", "name": "Deploy Höhe" }));
    create_session(&bob, &json!({ "id": "two", "name": "build" }));
    create_session(&ann, &json!({ "id": "three", "profile": "once" }));
    // The program of `once` ends at once.
    while page(&ann, "state=ended").0.is_empty() {}

    let ids = |query: &str| page(&ann, query).0;
    assert_eq!(ids("state=ended"), ["three"]);
    assert_eq!(ids("state=running"), ["two", "one"]);
    assert_eq!(ids("user=ann"), ["three", "one"]);
    assert_eq!(ids("q=dEpLoY%20H%C3%96HE"), ["one"]);
    assert_eq!(ids("q=BOB"), ["two"]);
    assert_eq!(ids("q=once&state=ended"), ["three"]);
    assert_eq!(ids("q=nothing"), [""; 0]);
    assert_eq!(page(&bob, "q=o").0, ["two"], "sessions of other users must not be found");
}
