//! Browsers: log-in, cookies, origins, the base path, pages; and metrics.

use std::borrow::Cow;

use rejoin_gateway::{Claims, GatewayConfig, Page};
use serde_json::json;

use crate::support::{TestServer, claims};

fn find(path: &str) -> Option<Page> {
    let (content, kind) = match path {
        "index.html" => ("<base href=\"/\" />", "text/html"),
        "assets/a.js" => ("1", "text/javascript"),
        "assets/b.js" => ("plain", "text/javascript"),
        "assets/b.js.br" => ("brotli", "application/octet-stream"),
        "assets/b.js.gz" => ("gzipped", "application/gzip"),
        _ => return None,
    };
    let content = Cow::Borrowed(content.as_bytes());
    Some(Page { content, content_type: kind.to_owned(), tag: format!("tag-of-{path}") })
}

async fn server_below(base: &'static str) -> TestServer {
    let configure = move |config: &mut GatewayConfig| config.base_path = base.to_owned();
    TestServer::start_with(configure, |gateway| gateway.pages(find)).await
}

#[tokio::test]
async fn a_log_in_sets_a_cookie_that_scripts_cannot_read() {
    let server = TestServer::start().await;
    let origin = format!("http://{}", server.address);
    let login = server.ask("POST", "/api/v1/login").header("Origin", &origin);
    let login = login.bearer(&server.token("ann")).send().await;

    assert_eq!(login.status, 204);
    let cookie = login.header("set-cookie").to_owned();
    assert!(cookie.starts_with("rejoin_session="), "{cookie}");
    assert!(cookie.ends_with("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();

    // The cookie alone authenticates the browser.
    let me = server.ask("GET", "/api/v1/me").header("Cookie", cookie).send().await;
    assert!(me.header("set-cookie").starts_with(cookie), "each response extends the cookie");
    let me = me.json();
    assert_eq!((&me["user_id"], &me["admin"]), (&"ann".into(), &false.into()));
    let now = rejoin_core::now_ms();
    let left = me["expires_at"].as_u64().unwrap() - now;
    assert!((2_591_000_000..=2_592_000_000).contains(&left), "{left}");

    let body = server.ask("POST", "/api/v1/login").json(json!({ "token": server.token("bob") }));
    assert_eq!(body.send().await.status, 204);
    let bad = server.ask("POST", "/api/v1/login").json(json!({ "token": "x" })).send().await;
    assert_eq!(bad.problem(), (401, "authentication_failed".into()));
    let none = server.ask("POST", "/api/v1/login").send().await;
    assert_eq!(none.problem(), (401, "not_authenticated".into()));

    let logout = server.ask("POST", "/api/v1/logout").header("Origin", &origin).send().await;
    assert!(logout.header("set-cookie").starts_with("rejoin_session=; Path=/; Max-Age=0;"));
}

#[tokio::test]
async fn a_cookie_expires_with_its_token() {
    let server = TestServer::start().await;
    let exp = Some(rejoin_core::now_ms() / 1000 + 600);
    let token = server.key.sign(&Claims { exp, ..claims("ann") }).unwrap();
    let login = server.ask("POST", "/api/v1/login").bearer(&token).send().await;

    let seconds = login.header("set-cookie").split("Max-Age=").nth(1).unwrap();
    let seconds: u64 = seconds.split(';').next().unwrap().parse().unwrap();
    assert!((540..=600).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn pages_of_other_origins_change_nothing_with_a_cookie() {
    let server = TestServer::start().await;
    let login = server.ask("POST", "/api/v1/login").bearer(&server.token("ann")).send().await;
    let cookie = login.header("set-cookie").split(';').next().unwrap().to_owned();
    let own = format!("http://{}", server.address);
    let post = async |headers: &[(&str, &str)]| {
        let mut request = server.ask("POST", "/api/v1/tickets").header("Cookie", &cookie);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.send().await.status
    };

    assert_eq!(post(&[("Origin", &own)]).await, 201);
    assert_eq!(post(&[("Sec-Fetch-Site", "same-origin")]).await, 201);
    // Also without headers: an old browser sends neither.
    for headers in [
        &[][..],
        &[("Origin", "https://evil.example")],
        &[("Origin", "null")],
        &[("Sec-Fetch-Site", "same-site")],
        &[("Sec-Fetch-Site", "cross-site"), ("Origin", &own)],
    ] {
        assert_eq!(post(headers).await, 403, "{headers:?}");
    }

    for path in ["/api/v1/login", "/api/v1/logout"] {
        let request = server.ask("POST", path).header("Origin", "https://evil.example");
        let answer = request.bearer(&server.token("eve")).send().await;
        assert_eq!(answer.problem(), (403, "forbidden".into()), "{path}");
        assert_eq!(answer.header("set-cookie"), "");
    }
}

#[tokio::test]
async fn only_listed_origins_may_read_responses() {
    let configure =
        |config: &mut GatewayConfig| config.allowed_origins = vec!["https://app.example".into()];
    let server = TestServer::start_with(configure, |gateway| gateway).await;
    let preflight = async |origin: &str| {
        let request = server.ask("OPTIONS", "/api/v1/publish").header("Origin", origin);
        request.header("Access-Control-Request-Method", "POST").send().await
    };

    let allowed = preflight("https://app.example").await;
    assert_eq!(allowed.status, 204);
    assert_eq!(allowed.header("access-control-allow-origin"), "https://app.example");
    assert_eq!(allowed.header("access-control-allow-methods"), "GET, POST, DELETE");
    assert!(allowed.header("access-control-allow-headers").contains("authorization"));
    assert_eq!(allowed.header("access-control-max-age"), "7200");
    assert_eq!(allowed.header("access-control-allow-credentials"), "");

    let other = preflight("https://evil.example").await;
    assert_eq!(other.header("access-control-allow-origin"), "");
    assert_eq!(other.header("access-control-allow-methods"), "");

    let answer =
        server.api("ann", "GET", "/me").header("Origin", "https://app.example").send().await;
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.example");
    assert_eq!(answer.header("vary"), "origin");
    let refused =
        server.ask("GET", "/api/v1/me").header("Origin", "https://app.example").send().await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.header("access-control-allow-origin"), "https://app.example");

    let plain = server.api("ann", "GET", "/me").send().await;
    assert_eq!((plain.header("access-control-allow-origin"), plain.header("vary")), ("", "origin"));
}

#[tokio::test]
async fn all_routes_are_below_the_base_path() {
    let server = server_below("/a/rejoin/").await;
    for path in ["/", "/a/rejoin"] {
        let answer = server.ask("GET", path).send().await;
        assert_eq!((answer.status, answer.header("location")), (307, "/a/rejoin/"), "{path}");
    }
    let get = async |path: &str| server.ask("GET", path).send().await;
    assert_eq!(get("/a/rejoin/").await.body, "<base href=\"/a/rejoin/\" />");
    assert_eq!(get("/a/rejoin/assets/a.js").await.body, "1");
    assert_eq!(get("/a/rejoin/healthz").await.body, "ok\n");
    for path in ["/healthz", "/api/v1/me", "/ws", "/assets/a.js", "/a/rejoinhealthz", "/a"] {
        assert_eq!(get(path).await.problem(), (404, "not_found".into()), "{path}");
    }

    let document = get("/a/rejoin/api/v1/openapi.json").await.json();
    assert_eq!(document["servers"][0]["url"], "/a/rejoin/api/v1");

    let missing = get("/a/rejoin/api/v1/nothing").await;
    assert!(missing.json()["detail"].as_str().unwrap().contains("`/a/rejoin/api/v1/nothing`"));

    let login =
        server.ask("POST", "/a/rejoin/api/v1/login").bearer(&server.token("ann")).send().await;
    assert!(login.header("set-cookie").contains("; Path=/a/rejoin/;"));

    let url = format!("ws://{}/a/rejoin/ws", server.address);
    assert!(tokio_tungstenite::connect_async(url).await.is_ok());
}

#[tokio::test]
async fn urls_of_the_pages_get_the_index() {
    let server = server_below("/").await;
    let get = async |path: &str, accept: &str| {
        server.ask("GET", path).header("Accept", accept).send().await
    };
    let html = "text/html,application/xhtml+xml";

    let index = get("/s/abc", html).await;
    assert_eq!((index.status, index.body.as_str()), (200, "<base href=\"/\" />"));
    assert!(index.header("content-security-policy").contains("base-uri 'self'"));
    assert_eq!(get("/s/abc", "application/json").await.status, 404);
    assert_eq!(get("/s/abc.js", html).await.status, 404);
    assert_eq!(get("/api/v1/abc", html).await.problem(), (404, "not_found".into()));
    assert_eq!(server.ask("POST", "/").send().await.problem(), (404, "not_found".into()));
}

#[tokio::test]
async fn an_asset_is_served_as_the_smallest_accepted_variant() {
    let server = server_below("/").await;
    let get = async |path: &str, accepted: &str| {
        server.ask("GET", path).header("Accept-Encoding", accepted).send().await
    };

    for (accepted, coding, body) in [
        ("gzip, deflate, br, zstd", "br", "brotli"),
        ("gzip, br;q=0", "gzip", "gzipped"),
        ("identity", "", "plain"),
    ] {
        let answer = get("/assets/b.js", accepted).await;
        assert_eq!((answer.header("content-encoding"), &*answer.body), (coding, body));
        assert_eq!(answer.header("content-type"), "text/javascript");
        assert_eq!(answer.header("vary"), "accept-encoding");
        let tag = answer.header("etag").to_owned();
        let ask = server.ask("GET", "/assets/b.js").header("Accept-Encoding", accepted);
        let again = ask.header("If-None-Match", &format!("\"other\", W/{tag}")).send().await;
        assert_eq!((again.status, again.header("etag"), &*again.body), (304, &*tag, ""));
        let other = get("/assets/b.js", "br").await;
        assert_eq!(other.header("etag") == tag, coding == "br", "each variant has its own tag");
    }

    assert_eq!(get("/assets/a.js", "br, gzip").await.header("content-encoding"), "");
    // The base path is part of the page, so the tags must differ.
    let (index, below) = (get("/", "").await, server_below("/rejoin/").await);
    let below = below.ask("GET", "/rejoin/").send().await;
    assert_ne!(index.header("etag"), below.header("etag"), "their contents differ");
}

#[tokio::test]
async fn metrics_are_for_administrators_unless_public() {
    let mut server = TestServer::start().await;
    let start = server.api("ann", "POST", "/sessions").json(json!({})).send().await;
    assert_eq!(start.status, 201);
    let _program = server.programs.recv().await.unwrap();

    let metrics = server.ask("GET", "/metrics").bearer(&server.admin()).send().await;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(metrics.header("content-type"), content_type);
    for line in [
        "rejoin_sessions{kind=\"terminal\",status=\"idle\"} 1",
        "rejoin_sessions{kind=\"terminal\",status=\"error\"} 0",
        "rejoin_http_requests_total{status=\"201\"} 1",
    ] {
        assert!(metrics.body.lines().any(|it| it == line), "{line}: {}", metrics.body);
    }

    let ann = server.ask("GET", "/metrics").bearer(&server.token("ann")).send().await;
    assert_eq!(ann.problem(), (403, "forbidden".into()));
    assert_eq!(server.ask("GET", "/metrics").send().await.status, 401);

    let open = |config: &mut GatewayConfig| config.public_metrics = true;
    let server = TestServer::start_with(open, |gateway| gateway).await;
    assert_eq!(server.ask("GET", "/metrics").send().await.status, 200);
}

#[tokio::test]
async fn statistics_are_for_administrators() {
    let server = TestServer::start().await;
    let _ann = server.log_in("ann").await;

    let stats = server.ask("GET", "/api/v1/stats").bearer(&server.admin()).send().await.json();
    assert_eq!((&stats["connections"], &stats["users"]), (&1.into(), &1.into()));
    assert_eq!(stats["sessions"]["active"], 0);
    assert_eq!(stats["version"], env!("CARGO_PKG_VERSION"));
}
