//! The list of sessions: its order, its pages, its filters.

use serde_json::{Value, json};

use crate::support::{Home, Server, http::Api};

/// Sessions on a page, if nobody asks for more.
const PAGE: usize = 100;

fn server(home: &Home) -> Server {
    let profiles =
        "[profiles.terminal]\ncommand = [\"cat\"]\n[profiles.once]\ncommand = [\"true\"]\n";
    home.write("rejoin.toml", profiles);
    home.serve()
}

fn start(api: &Api, new: &Value) {
    let (status, answer) = api.post("/sessions", new);
    assert_eq!(status, 201, "{answer}");
}

/// The ids on a page, and the cursor of the next.
fn page(api: &Api, query: &str) -> (Vec<String>, Value) {
    let (status, page) = api.get(&format!("/sessions?{query}"));
    assert_eq!(status, 200, "{page}");
    let sessions = page["sessions"].as_array().unwrap().iter();
    let ids = sessions.map(|session| session["id"].as_str().unwrap().to_owned()).collect();
    (ids, page["next"].clone())
}

#[test]
fn a_new_session_is_on_the_first_page_of_a_long_list() {
    let home = Home::new();
    let server = server(&home);
    let api = server.admin();
    for number in 0..=PAGE {
        // In no order of ids.
        start(&api, &json!({ "id": format!("{}-{number}", number * 7 % 10) }));
    }
    let (first, next) = page(&api, "");
    assert_eq!((first.len(), first[0].as_str()), (PAGE, "0-100"));
    let (second, end) = page(&api, &format!("after={}", next.as_str().unwrap()));
    assert_eq!((second, end), (vec!["0-0".to_owned()], Value::Null));
}

#[test]
fn sessions_are_found_by_text_state_and_owner() {
    let home = Home::new();
    let server = server(&home);
    let (ann, bob) = (server.admin(), server.api(&home.token("bob", "1h")));
    start(&ann, &json!({ "id": "one", "name": "Deploy Höhe" }));
    start(&bob, &json!({ "id": "two", "name": "build" }));
    start(&ann, &json!({ "id": "three", "profile": "once" }));
    // Its program ends by itself.
    while page(&ann, "state=ended").0.is_empty() {}
    let ids = |query: &str| page(&ann, query).0;
    assert_eq!(ids("state=ended"), ["three"]);
    assert_eq!(ids("state=running"), ["two", "one"]);
    assert_eq!(ids("user=ann"), ["three", "one"]);
    assert_eq!(ids("q=dEpLoY%20H%C3%96HE"), ["one"]);
    assert_eq!(ids("q=BOB"), ["two"]);
    assert_eq!(ids("q=once&state=ended"), ["three"]);
    assert_eq!(ids("q=nothing"), [""; 0]);
    assert_eq!(page(&bob, "q=o").0, ["two"], "of others nothing is found");
}
