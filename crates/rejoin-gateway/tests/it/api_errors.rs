//! Errors of the API, and idempotency keys.

use serde_json::json;

use crate::support::TestServer;

#[tokio::test]
async fn errors_name_the_field_or_the_position() {
    let server = TestServer::start().await;
    let post = async |body: &str| {
        let request =
            server.api("ann", "POST", "/sessions").header("Content-Type", "application/json");
        let answer = request.raw(body).send().await;
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        (answer.problem(), detail)
    };

    for (body, code, detail) in [
        ("{\"cols\" 1}", "malformed_json", "expected `:` at line 1 column 9"),
        ("{} {}", "malformed_json", "trailing characters at line 1 column 4"),
        ("[]", "malformed_json", "the body must be a JSON object"),
        ("", "malformed_json", "the body must be a JSON object"),
        ("{\"cols\": 0}", "invalid_field", "`cols`: must be a whole number from 1 to 1000"),
        ("{\"rows\": 24.5}", "invalid_field", "`rows`: must be a whole number from 1 to 500"),
        (
            "{\"kind\": \"topic\"}",
            "invalid_field",
            "`kind`: unknown variant `topic`, expected `terminal`",
        ),
        ("{\"cwd\": \"\"}", "invalid_field", "`cwd`: must be a path of 1 to 4096 bytes"),
    ] {
        assert_eq!(post(body).await, ((400, code.into()), detail.to_owned()), "{body}");
    }

    let answer = server.api("ann", "POST", "/publish").json(json!({ "topic": "a" })).send().await;
    assert_eq!(answer.problem(), (400, "missing_field".into()));
    assert_eq!(answer.json()["detail"], "missing field `data`");

    let path = server.api("ann", "GET", "/sessions/a%20b").send().await;
    assert_eq!(path.problem(), (400, "invalid_field".into()));
    assert!(path.json()["detail"].as_str().unwrap().contains("the session id must be"), "{path:?}");
}

#[tokio::test]
async fn errors_of_http_itself_are_problems() {
    let configure = |config: &mut rejoin_gateway::GatewayConfig| config.max_message_bytes = 1000;
    let server = TestServer::start_with(configure, |gateway| gateway).await;
    let missing = server.ask("GET", "/api/v1/nothing").send().await;
    assert_eq!(missing.problem(), (404, "not_found".into()));
    assert_eq!(server.ask("GET", "/api").send().await.problem(), (404, "not_found".into()));

    let method = server.api("ann", "DELETE", "/me").send().await;
    assert_eq!(method.problem(), (405, "method_not_allowed".into()));
    assert_eq!(method.header("allow"), "GET,HEAD");

    let kind = server.api("ann", "POST", "/publish").header("Content-Type", "text/plain").raw("{}");
    assert_eq!(kind.send().await.problem(), (415, "invalid_field".into()));

    let long = json!({ "topic": "a", "data": "x".repeat(3000) });
    let long = server.api("ann", "POST", "/publish").json(long).send().await;
    assert_eq!(long.problem(), (413, "invalid_field".into()));
    assert_eq!(long.header("cache-control"), "no-store");

    let forged = server.ask("GET", "/api/v1/me").bearer("x.y.z").send().await;
    assert_eq!(forged.problem(), (401, "authentication_failed".into()));
    assert_eq!(forged.header("www-authenticate"), "Bearer");
}

#[tokio::test]
async fn a_post_with_a_key_is_executed_once() {
    let mut server = TestServer::start().await;
    let post = async |user: &str, key: &str, name: &str| {
        let request = server.api(user, "POST", "/sessions").header("Idempotency-Key", key);
        request.json(json!({ "name": name })).send().await
    };

    let first = post("ann", "k1", "a").await;
    assert_eq!((first.status, first.header("idempotent-replayed")), (201, ""));
    // In quotes, as a structured field, it is the same key.
    let again = post("ann", "\"k1\"", "a").await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert_eq!(again.header("location"), first.header("location"));
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(post("ann", "k1", "b").await.problem(), (422, "key_reused".into()));
    assert_ne!(post("bob", "k1", "a").await.body, first.body, "keys belong to a user");

    let elsewhere = server.api("ann", "POST", "/publish").header("Idempotency-Key", "k1");
    let elsewhere = elsewhere.json(json!({ "topic": "t", "data": 1 })).send().await;
    assert_eq!(elsewhere.status, 200, "keys belong to a path");

    for key in ["", "a b", "a\"b", &"k".repeat(129)] {
        assert_eq!(post("ann", key, "a").await.problem(), (400, "invalid_field".into()), "{key}");
    }

    for _ in 0..2 {
        server.programs.recv().await.unwrap();
    }
    assert!(server.programs.try_recv().is_err(), "one program was started for each user");
}

#[tokio::test]
async fn concurrent_retries_share_one_result() {
    let server = TestServer::start().await;
    let post = async || {
        let request = server.api("ann", "POST", "/publish").header("Idempotency-Key", "k");
        request.json(json!({ "topic": "t", "data": 1 })).send().await.body
    };

    let answers = futures_util::future::join_all((0..20).map(|_| post())).await;
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let topics = server.api("ann", "GET", "/topics").send().await.json();
    assert_eq!(topics["topics"][0]["frames"], 1);
}

#[tokio::test]
async fn a_refusal_by_a_limit_is_not_cached() {
    let server = TestServer::start().await;
    for _ in 0..64 {
        assert_eq!(server.api("ann", "POST", "/tickets").send().await.status, 201);
    }
    let post =
        async || server.api("ann", "POST", "/tickets").header("Idempotency-Key", "k").send().await;

    assert_eq!(post().await.problem(), (429, "too_many_tickets".into()));
    let again = post().await;
    assert_eq!(
        (again.status, again.header("idempotent-replayed")),
        (429, ""),
        "the retry was executed"
    );
}
