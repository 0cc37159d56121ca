//! Sessions and topics over HTTP, and the rights to them.

use rejoin_core::{Caps, Control, TerminalEvent};
use rejoin_gateway::Claims;
use serde_json::{Value, json};

use crate::support::{TestServer, claims};

impl TestServer {
    pub(crate) fn admin(&self) -> String {
        self.key.sign(&Claims { caps: Some(Caps::admin()), ..claims("root") }).unwrap()
    }

    async fn new_session(&self, user: &str, body: Value) -> String {
        let answer = self.api(user, "POST", "/sessions").json(body).send().await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        assert_eq!(answer.header("location"), format!("/api/v1/sessions/{id}"));
        id
    }
}

#[tokio::test]
async fn a_session_is_started_used_and_closed() {
    let mut server = TestServer::start().await;
    let id = server.new_session("ann", json!({ "name": "build", "cols": 100.0 })).await;
    let mut program = server.programs.recv().await.unwrap();
    let path = format!("/sessions/{id}");

    let info = server.api("ann", "GET", &path).send().await.json();
    assert_eq!(
        (&info["name"], &info["cols"], &info["rows"]),
        (&"build".into(), &100.into(), &24.into())
    );
    assert_eq!(info["status"], "idle");

    let input = server.api("ann", "POST", &format!("{path}/input")).json(json!({ "data": "ls\r" }));
    let types = async {
        let Some(Control::Input { number, bytes, .. }) = program.controls.recv().await else {
            panic!()
        };
        assert_eq!(&bytes[..], b"ls\r");
        program.written.send(number).unwrap();
    };
    let (answer, ()) = tokio::join!(input.send(), types);
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));

    let resize = server.api("ann", "POST", &format!("{path}/resize"));
    assert_eq!(resize.json(json!({ "cols": 90, "rows": 30 })).send().await.status, 204);
    assert!(
        matches!(program.controls.recv().await, Some(Control::Resize(size)) if size.cols() == 90)
    );
    let signal = server.api("ann", "POST", &format!("{path}/signal"));
    assert_eq!(signal.json(json!({ "signal": "SIGINT" })).send().await.status, 204);
    assert!(matches!(program.controls.recv().await, Some(Control::Signal(_))));

    program.events.send(TerminalEvent::Output("a <b>".into())).await.unwrap();
    let screen =
        async |query: &str| server.api("ann", "GET", &format!("{path}/screen{query}")).send().await;
    while screen("").await.body != "a <b>" {}
    let html = screen("?format=html").await;
    assert_eq!(html.body, "<pre>a &lt;b></pre>");
    assert_eq!(html.header("content-type"), "text/html; charset=utf-8");
    assert!(html.header("content-security-policy").starts_with("default-src 'none'"));
    assert_eq!(screen("?format=ansi").await.header("content-type"), "application/octet-stream");
    assert_eq!(screen("?format=png").await.problem(), (400, "invalid_field".into()));

    let close = server.api("ann", "DELETE", &path).send();
    let ends = async {
        program.hung_up().await;
        drop(program.events);
    };
    // The request waits for the program's end, so both run at the same time.
    let (answer, ()) = tokio::join!(close, ends);
    assert_eq!(answer.status, 204);
    let gone = server.api("ann", "GET", &path).send().await;
    assert_eq!(gone.problem(), (404, "unknown_session".into()));
}

#[tokio::test]
async fn another_users_session_looks_like_a_missing_one() {
    let mut server = TestServer::start().await;
    let id = server.new_session("ann", json!({})).await;
    let _program = server.programs.recv().await.unwrap();

    for (method, rest, body) in [
        ("GET", "", None),
        ("DELETE", "", None),
        ("GET", "/screen", None),
        ("GET", "/connections", None),
        ("POST", "/input", Some(json!({ "data": "x" }))),
        ("POST", "/resize", Some(json!({ "cols": 1, "rows": 1 }))),
        ("POST", "/signal", Some(json!({ "signal": "SIGINT" }))),
    ] {
        let ask = async |id: &str| {
            let request = server.api("bob", method, &format!("/sessions/{id}{rest}"));
            let request = match &body {
                Some(body) => request.json(body.clone()),
                None => request,
            };
            let answer = request.send().await;
            assert_eq!(answer.problem(), (404, "unknown_session".into()), "{method} {rest}");
            answer.body.replace(id, "ID")
        };
        assert_eq!(ask(&id).await, ask("missing").await, "{method} {rest}");
    }

    let list = server.ask("GET", "/api/v1/sessions?user=ann").bearer(&server.admin()).send().await;
    assert_eq!(list.json()["sessions"][0]["id"], id.as_str(), "an administrator gets all sessions");
    let list = server.api("bob", "GET", "/sessions?user=ann").send().await;
    assert_eq!(list.problem(), (403, "forbidden".into()));
}

#[tokio::test]
async fn pages_have_no_gaps_and_no_repeats() {
    let mut server = TestServer::start().await;
    let mut created = Vec::new();
    for number in 0..5 {
        created.push(server.new_session("ann", json!({ "id": format!("s{number}") })).await);
    }
    let mut programs = Vec::new();
    for _ in 0..5 {
        programs.push(server.programs.recv().await.unwrap());
    }

    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page =
            server.api("ann", "GET", &format!("/sessions?limit=2{after}")).send().await.json();
        let sessions = page["sessions"].as_array().unwrap();
        seen.extend(sessions.iter().map(|it| it["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        assert_eq!(sessions.len(), 2);
        after = format!("&after={next}");
    }
    created.reverse();
    assert_eq!(seen, created, "newest first");

    let none = server.api("ann", "GET", "/sessions?status=active").send().await.json();
    assert_eq!(none, json!({ "sessions": [], "next": null }));
    for query in [
        "limit=0",
        "limit=1001",
        "limit=+1",
        "status=new",
        "after=",
        "after=s1",
        "after=1_",
        "kind=a&kind=b",
        "state=old",
    ] {
        let answer = server.api("ann", "GET", &format!("/sessions?{query}")).send().await;
        assert_eq!(answer.problem(), (400, "invalid_field".into()), "{query}");
    }
}

#[tokio::test]
async fn an_id_cannot_be_used_twice() {
    let mut server = TestServer::start().await;
    server.new_session("ann", json!({ "id": "build" })).await;
    let _program = server.programs.recv().await.unwrap();

    let again = server.api("bob", "POST", "/sessions").json(json!({ "id": "build" })).send().await;
    assert_eq!(again.problem(), (409, "session_exists".into()));

    let unknown = server.api("ann", "POST", "/sessions").json(json!({ "profile": "other" }));
    assert_eq!(unknown.send().await.problem(), (404, "unknown_profile".into()));
}

#[tokio::test]
async fn history_is_read_from_a_position() {
    let server = TestServer::start().await;
    let publish = async |data: Value| {
        let body = json!({ "topic": "room/7@b", "data": data });
        let answer = server.api("ann", "POST", "/publish").json(body).send().await;
        answer.json()["position"].as_str().unwrap().to_owned()
    };
    let first = publish(json!({ "a": [1, "ü"] })).await;
    let second = publish(json!(null)).await;
    let third = publish(json!("x".repeat(70))).await;
    let history = async |query: &str| {
        let path = format!("/topics/room%2F7%40b/history{query}");
        server.api("ann", "GET", &path).send().await.json()
    };

    let all = history("").await;
    assert_eq!((&all["verdict"], &all["next"]), (&"fresh".into(), &Value::Null));
    assert_eq!(all["messages"][0]["data"], json!({ "a": [1, "ü"] }));
    assert_eq!(all["messages"][0]["position"], first.as_str());
    assert_eq!(all["messages"].as_array().unwrap().len(), 3);

    let page = history(&format!("?after={first}&limit=1")).await;
    assert_eq!((&page["verdict"], &page["next"]), (&"resumed".into(), &second.as_str().into()));
    let last = history(&format!("?after={second}")).await;
    assert_eq!((&last["position"], &last["next"]), (&third.as_str().into(), &Value::Null));

    let gap = history("?after=1.0").await;
    assert_eq!((&gap["verdict"], &gap["reason"]), (&"gap".into(), &"epoch".into()));
    assert_eq!(gap["messages"].as_array().unwrap().len(), 3);

    let none = server.api("ann", "GET", "/topics/nothing/history").send().await.json();
    assert_eq!((&none["messages"], &none["position"]), (&json!([]), &Value::Null));

    let topics = server.api("ann", "GET", "/topics").send().await.json();
    let topic = &topics["topics"][0];
    assert_eq!((&topic["name"], &topic["frames"]), (&"room/7@b".into(), &3.into()));
    assert_eq!(topics["topics"].as_array().unwrap().len(), 1, "reading creates no topic");
}

#[tokio::test]
async fn history_reports_the_messages_that_retention_dropped() {
    let server = TestServer::start().await;
    let mut positions = Vec::new();
    for number in 0..6 {
        let body = json!({ "topic": "short", "data": number });
        let answer = server.api("ann", "POST", "/publish").json(body).send().await;
        positions.push(answer.json()["position"].as_str().unwrap().to_owned());
    }

    let path = format!("/topics/short/history?after={}", positions[0]);
    let history = server.api("ann", "GET", &path).send().await.json();
    assert_eq!((&history["verdict"], &history["missed"]), (&"gap".into(), &1.into()));
    assert_eq!(history["messages"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn topics_require_the_rights_of_the_token() {
    let server = TestServer::start().await;
    let caps = json!({ "topics": { "news.*": ["subscribe"] } });
    let caps = Some(serde_json::from_value(caps).unwrap());
    let token = server.key.sign(&Claims { caps, ..claims("ann") }).unwrap();
    for topic in ["news.a", "other"] {
        let body = json!({ "topic": topic, "data": 1 });
        assert_eq!(server.api("bob", "POST", "/publish").json(body).send().await.status, 200);
    }
    let ask =
        |method: &str, path: &str| server.ask(method, &format!("/api/v1{path}")).bearer(&token);

    let topics = ask("GET", "/topics").send().await.json();
    assert_eq!(topics["topics"].as_array().unwrap().len(), 1);
    assert_eq!(ask("GET", "/topics/news.a/history").send().await.status, 200);
    for path in ["/topics/other/history", "/topics/missing/history", "/topics/news.a/presence"] {
        assert_eq!(ask("GET", path).send().await.problem(), (403, "forbidden".into()), "{path}");
    }

    let publish =
        ask("POST", "/publish").json(json!({ "topic": "news.a", "data": 1 })).send().await;
    assert_eq!(publish.problem(), (403, "forbidden".into()));
    let own = ask("GET", "/topics/%40all/history").send().await;
    assert_eq!(own.problem(), (404, "unknown_topic".into()));
}
