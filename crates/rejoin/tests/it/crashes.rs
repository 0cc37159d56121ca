//! Log-ins and revocations of a server that is killed right after it has answered.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{TestHome, TestServer, browser::TestBrowser};

/// Kills the server, and starts another one for the same browsers.
fn crash(home: &TestHome, server: TestServer, browsers: &mut [&mut TestBrowser]) -> TestServer {
    server.stop(Signal::KILL);
    let server = home.start_server();
    for browser in browsers {
        server.address().clone_into(&mut browser.address);
    }
    server
}

#[test]
fn a_crash_neither_ends_nor_revives_a_browser_session() {
    let home = TestHome::new();
    let server = home.start_server();
    let mut kept = TestBrowser::logged_in(&server, "bob", &home);
    let mut ended = TestBrowser::logged_in(&server, "bob", &home);
    let server = crash(&home, server, &mut [&mut kept, &mut ended]);
    assert_eq!((kept.get("/api/v1/me").0, ended.get("/api/v1/me").0), (200, 200));

    let cookie = ended.cookie.clone();
    assert_eq!(ended.send("POST", "/api/v1/logout", &Value::Null).0, 204);
    let _server = crash(&home, server, &mut [&mut kept, &mut ended]);
    ended.cookie = cookie;
    assert_eq!((kept.get("/api/v1/me").0, ended.get("/api/v1/me").0), (200, 401));
}

#[test]
fn a_crash_neither_loses_nor_revives_a_login_code() {
    let home = TestHome::new();
    let server = home.start_server();
    let used = json!({ "code": server.login_code() });
    let unused = json!({ "code": home.output_of(&["token", "--link"]).trim_end()
        .split_once("#login=").unwrap().1 });
    assert_eq!(TestBrowser::new(&server).log_in(&used), 204);

    let server = crash(&home, server, &mut []);
    assert_eq!(TestBrowser::new(&server).log_in(&used), 401);
    assert_eq!(TestBrowser::new(&server).log_in(&unused), 204);
    let server = crash(&home, server, &mut []);
    assert_eq!(TestBrowser::new(&server).log_in(&unused), 401);
}

#[test]
fn a_crash_neither_loses_nor_revives_a_revocation() {
    let home = TestHome::new();
    let server = home.start_server();
    let (bob, eve) = (home.token("bob", "1h"), home.token("eve", "1h"));
    for user in ["bob", "eve"] {
        let (status, body) = server.admin_api().post("/revocations", &json!({ "user": user }));
        assert_eq!(status, 201, "{body}");
    }

    let server = crash(&home, server, &mut []);
    assert_eq!((server.api(&bob).get("/me").0, server.api(&eve).get("/me").0), (401, 401));
    assert_eq!(server.admin_api().delete("/revocations/users/eve"), 204);
    let server = crash(&home, server, &mut []);
    assert_eq!((server.api(&bob).get("/me").0, server.api(&eve).get("/me").0), (401, 200));
}
