//! Connections, users and revocations over HTTP.

use rejoin_gateway::Claims;
use serde_json::{Value, json};

use crate::{
    http::Answer,
    support::{Client, TestServer, claims},
};

/// Opens a connection of a user's device. Returns it with its id.
async fn connect(server: &TestServer, user: &str, device: &str) -> (Client, String) {
    let mut client = server.connect().await;
    let payload = json!({ "token": server.token(user), "device_id": device });
    let answer = client.ask("authenticate", payload).await;
    let id = answer["payload"]["connection_id"].as_str().unwrap().to_owned();
    (client, id)
}

async fn message(client: &mut Client) -> Value {
    loop {
        let message = client.next_json().await;
        if message["type"] == "message" {
            return message["payload"].clone();
        }
    }
}

async fn post(server: &TestServer, user: &str, path: &str, body: Value) -> Answer {
    server.api(user, "POST", path).json(body).send().await
}

#[tokio::test]
async fn an_event_reaches_its_connection_device_user_or_all() {
    let server = TestServer::start().await;
    let (mut phone, phone_id) = connect(&server, "ann", "phone").await;
    let (mut laptop, _) = connect(&server, "ann", "laptop").await;
    let body = |data: &str| json!({ "event": "e", "data": data });

    let direct = post(&server, "ann", &format!("/connections/{phone_id}/emit"), body("one")).await;
    assert_eq!(direct.status, 204);
    let got = message(&mut phone).await;
    assert_eq!(
        (&got["topic"], &got["data"], &got["event"]),
        (&"@connection".into(), &"one".into(), &"e".into())
    );

    let device = post(&server, "ann", "/users/ann/devices/laptop/emit", body("two")).await;
    assert!(device.json()["position"].is_string());
    assert_eq!(message(&mut laptop).await["topic"], "@device");

    assert_eq!(post(&server, "ann", "/users/ann/emit", body("three")).await.status, 200);
    for client in [&mut phone, &mut laptop] {
        let got = message(client).await;
        assert_eq!((&got["topic"], &got["data"]), (&"@user".into(), &"three".into()));
    }

    let all = server.ask("POST", "/api/v1/broadcast").bearer(&server.admin()).json(body("four"));
    assert_eq!(all.send().await.status, 200);
    assert_eq!(message(&mut phone).await["topic"], "@all");
    let refused = post(&server, "ann", "/broadcast", body("five")).await;
    assert_eq!(refused.problem(), (403, "forbidden".into()));
}

#[tokio::test]
async fn a_refresh_replaces_the_listed_role_context() {
    let server = TestServer::start().await;
    let with = |context: Option<&str>| {
        let role_context = context.map(str::to_owned);
        server.key.sign(&Claims { role_context, ..claims("ann") }).unwrap()
    };
    let mut client = server.connect().await;
    client.ask("authenticate", json!({ "token": with(Some("teacher of room 7")) })).await;
    let listed = async || {
        let list = server.api("ann", "GET", "/users/ann/connections").send().await.json();
        list["connections"][0]["role_context"].clone()
    };
    assert_eq!(listed().await, "teacher of room 7");

    client.ask("refresh", json!({ "token": with(Some("headmaster")) })).await;
    assert_eq!(listed().await, "headmaster");
    client.ask("refresh", json!({ "token": with(None) })).await;
    assert_eq!(listed().await, Value::Null);
}

#[tokio::test]
async fn connections_are_listed_and_closed_by_user_and_device() {
    let server = TestServer::start().await;
    let (mut phone, id) = connect(&server, "ann", "phone").await;
    let (mut laptop, _) = connect(&server, "ann", "laptop").await;
    let (_bob, bobs) = connect(&server, "bob", "phone").await;
    let count = async |user: &str, path: &str| {
        let list = server.api(user, "GET", path).send().await.json();
        assert_eq!(list["next"], Value::Null);
        list["connections"].as_array().unwrap().len()
    };
    assert_eq!(count("ann", "/users/ann/connections").await, 2);
    assert_eq!(count("ann", "/users/ann/devices/phone/connections").await, 1);

    let all = server.ask("GET", "/api/v1/connections?limit=2").bearer(&server.admin()).send().await;
    let all = all.json();
    assert_eq!(all["connections"].as_array().unwrap().len(), 2);
    assert!(all["next"].is_string());

    let one = server.api("ann", "GET", &format!("/connections/{id}")).send().await.json();
    assert_eq!((&one["device"], &one["address"]), (&"phone".into(), &"127.0.0.1".into()));

    let presence = server.api("ann", "GET", "/users/ann/presence").send().await.json();
    assert_eq!((&presence["users"], &presence["connections"]), (&1.into(), &2.into()));

    let end = server.api("ann", "DELETE", &format!("/connections/{id}")).send().await;
    assert_eq!(end.status, 204);
    assert_eq!(phone.until_closed().await.1, Some(4504));

    let gone = post(&server, "ann", "/users/ann/disconnect", json!({ "device": "laptop" })).await;
    assert_eq!(gone.json(), json!({ "disconnected": 1 }));
    assert_eq!(laptop.until_closed().await.1, Some(4504));

    let other = server.api("ann", "DELETE", &format!("/connections/{bobs}")).send().await;
    assert_eq!(other.problem(), (404, "unknown_connection".into()));
}

#[tokio::test]
async fn other_users_are_forbidden_whether_or_not_they_exist() {
    let server = TestServer::start().await;
    let (_bob, _) = connect(&server, "bob", "phone").await;
    for user in ["bob", "missing"] {
        for path in ["connections", "devices/phone/connections", "presence"] {
            let answer = server.api("ann", "GET", &format!("/users/{user}/{path}")).send().await;
            assert_eq!(answer.problem(), (403, "forbidden".into()), "{path}");
            assert!(!answer.body.contains(user));
        }
        for path in ["emit", "devices/phone/emit"] {
            let answer =
                post(&server, "ann", &format!("/users/{user}/{path}"), json!({ "data": 1 })).await;
            assert_eq!(answer.problem(), (403, "forbidden".into()), "{path}");
        }
        let answer = server.api("ann", "POST", &format!("/users/{user}/disconnect")).send().await;
        assert_eq!(answer.problem(), (403, "forbidden".into()));
    }

    for path in ["/connections", "/stats", "/revocations"] {
        let answer = server.api("ann", "GET", path).send().await;
        assert_eq!(answer.problem(), (403, "forbidden".into()), "{path}");
    }
    let answer = post(&server, "ann", "/revocations", json!({ "user": "bob" })).await;
    assert_eq!(answer.problem(), (403, "forbidden".into()));
}

#[tokio::test]
async fn a_revocation_ends_its_targets_connections_only() {
    let server = TestServer::start().await;
    let (mut ann, _) = connect(&server, "ann", "phone").await;
    let (mut bob, _) = connect(&server, "bob", "phone").await;
    let admin = server.admin();
    let ask =
        |method: &str, path: &str| server.ask(method, &format!("/api/v1{path}")).bearer(&admin);

    let revoked = ask("POST", "/revocations").json(json!({ "user": "ann", "for_seconds": 60 }));
    let revoked = revoked.send().await;
    assert_eq!((revoked.status, &revoked.json()["user"]), (201, &"ann".into()));
    assert_eq!(ann.until_closed().await.1, Some(4504));
    let refused = server.api("ann", "GET", "/me").send().await;
    assert_eq!(refused.problem(), (401, "token_revoked".into()));
    assert_eq!(bob.ask("ping", json!({})).await["type"], "pong");

    let list = ask("GET", "/revocations").send().await.json();
    assert_eq!((&list["revocations"][0]["user"], &list["next"]), (&"ann".into(), &Value::Null));
    assert_eq!(ask("DELETE", "/revocations/users/ann").send().await.status, 204);
    assert_eq!(server.api("ann", "GET", "/me").send().await.status, 200);
    let again = ask("DELETE", "/revocations/users/ann").send().await;
    assert_eq!(again.problem(), (404, "not_found".into()));

    for (body, code) in [
        (json!({}), "missing_field"),
        (json!({ "user": "a", "token": "b" }), "invalid_field"),
        (json!({ "user": "a", "for_seconds": 0 }), "invalid_field"),
        (json!({ "user": "a", "until": 5 }), "invalid_field"),
        (json!({ "token": "" }), "invalid_field"),
    ] {
        let answer = ask("POST", "/revocations").json(body.clone()).send().await;
        assert_eq!(answer.problem(), (400, code.into()), "{body}");
    }
}

#[tokio::test]
async fn pages_list_each_revocation_once_in_order() {
    let server = TestServer::start().await;
    let admin = server.admin();
    let ask =
        |method: &str, path: &str| server.ask(method, &format!("/api/v1{path}")).bearer(&admin);
    for number in 0..19 {
        let target = if number % 2 == 0 { "user" } else { "token" };
        let body = json!({ target: format!("r{number:02}") });
        assert_eq!(ask("POST", "/revocations").json(body).send().await.status, 201);
    }

    let (mut names, mut pages, mut next) = (Vec::new(), 0, String::new());
    loop {
        let page = ask("GET", &format!("/revocations?limit=5{next}")).send().await.json();
        for entry in page["revocations"].as_array().unwrap() {
            let name = entry["user"].as_str().or(entry["token"].as_str()).unwrap();
            names.push(name.to_owned());
        }
        pages += 1;
        let Some(after) = page["next"].as_str() else { break };
        next = format!("&after={after}");
    }

    // Users first.
    let ordered = (0..19).step_by(2).chain((1..19).step_by(2));
    assert_eq!(names, ordered.map(|number| format!("r{number:02}")).collect::<Vec<_>>());
    assert_eq!(pages, 4);
}

#[tokio::test]
async fn a_ticket_authenticates_one_websocket() {
    let server = TestServer::start().await;
    let ticket = server.api("ann", "POST", "/tickets").send().await;
    assert_eq!(ticket.status, 201);
    assert_eq!(ticket.header("cache-control"), "no-store");
    let ticket = ticket.json()["ticket"].as_str().unwrap().to_owned();
    let open = async || {
        let url = format!("ws://{}/ws?ticket={ticket}", server.address);
        let mut client = Client::new(tokio_tungstenite::connect_async(url).await.unwrap().0);
        client.next_json().await
    };

    assert_eq!(open().await["payload"]["user_id"], "ann");
    assert_eq!(open().await["payload"]["authenticated"], false);

    for _ in 0..64 {
        assert_eq!(server.api("bob", "POST", "/tickets").send().await.status, 201);
    }
    let refused = server.api("bob", "POST", "/tickets").send().await;
    assert_eq!(refused.problem(), (429, "too_many_tickets".into()));
    assert_eq!(refused.header("retry-after"), "30");
}
