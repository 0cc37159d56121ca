//! Webhooks to programs behind HTTP that answer, hang, fail or are unreachable.

use std::{sync::Arc, time::Duration};

use rejoin_core::{EventHandler, HubEvent, Shutdown};
use rejoin_gateway::{
    EventKind, GatewayConfig, MessageHandler, Webhook, WebhookEvents, WebhookMessages,
    WebhookMetrics,
};
use rejoin_protocol::{ErrorCode, UserId};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::Instant};

use crate::{
    program::{Answer, Program, body, status},
    support::TestServer,
};

/// Starts a server that sends all events to the program.
async fn server_with_events(program: &Program) -> (TestServer, Arc<WebhookEvents>) {
    let server = TestServer::start().await;
    let events = WebhookEvents::start(program.webhook(), EventKind::ALL, &server.hub).unwrap();
    let events = Arc::new(events);
    server.hub.set_handler(Arc::clone(&events) as Arc<dyn EventHandler>).unwrap();
    (server, events)
}

fn online(user: &str) -> HubEvent {
    HubEvent::UserOnline { user: UserId::new(user).unwrap() }
}

fn outcomes(server: &TestServer, outcome: &'static str) -> u64 {
    let metrics = server.hub.metrics().group::<WebhookMetrics>();
    metrics.outcomes.get_or_create(&[("outcome", outcome)]).get()
}

#[tokio::test]
async fn events_arrive_signed_and_in_order() {
    let mut program = Program::start([status("204 No Content")]).await;
    let (server, _events) = server_with_events(&program).await;
    // The log-in causes two events.
    let mut client = server.log_in("ann").await;
    let connected = program.next().await.verified();
    assert_eq!(connected["type"], "connected");
    assert_eq!(connected["data"]["user"], "ann");
    assert_eq!(connected["data"]["address"], "127.0.0.1");
    assert!(connected["time"].as_u64().unwrap() > 1_700_000_000_000);

    let online = program.next().await.verified();
    assert_eq!(
        (&online["type"], &online["data"]),
        (&json!("user_online"), &json!({ "user": "ann" }))
    );
    assert_ne!(online["id"], connected["id"]);

    let session = client.create_session().await;
    let started = program.next().await.verified();
    assert_eq!(
        (&started["type"], &started["data"]["id"]),
        (&json!("session_started"), &json!(session))
    );

    drop(client);
    let gone = program.next().await.verified();
    assert_eq!(gone["type"], "disconnected");
    assert_eq!(gone["data"]["id"], connected["data"]["id"]);
}

#[tokio::test]
async fn only_configured_events_arrive() {
    let mut program = Program::start([status("200 OK")]).await;
    let server = TestServer::start().await;
    let kinds = [EventKind::UserOnline, EventKind::Disconnected];
    let events = WebhookEvents::start(program.webhook(), kinds, &server.hub).unwrap();
    server.hub.set_handler(Arc::new(events)).unwrap();

    drop(server.log_in("ann").await);

    assert_eq!(program.next_kind().await, "user_online");
    assert_eq!(program.next_kind().await, "disconnected");
}

#[tokio::test(start_paused = true)]
async fn a_failed_event_is_retried_until_it_arrives() {
    let redirect = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n";
    let mut program = Program::start([
        status("500 Internal Server Error"),
        Answer::Says(Vec::new()),
        Answer::Says(redirect.to_vec()),
        Answer::Says(b"this is no HTTP\r\n\r\n".to_vec()),
        Answer::Hangs,
        status("200 OK"),
    ])
    .await;
    let (server, events) = server_with_events(&program).await;
    let begun = Instant::now();
    events.handle(&online("ann"));
    events.handle(&online("bob"));

    let first = program.next().await.verified();
    for _ in 0..5 {
        assert_eq!(program.next().await.verified(), first, "the same event again");
    }
    assert_eq!(program.next().await.verified()["data"]["user"], "bob");

    // 1, 2, 4, 8 and 16 seconds, each at least half, and the time-out.
    let pauses = begun.elapsed().as_secs_f64() - 10.0;
    assert!((15.5..31.5).contains(&pauses), "{pauses}");
    assert_eq!(outcomes(&server, "retried"), 5);
}

#[tokio::test(start_paused = true)]
async fn an_event_is_given_up_after_an_hour() {
    let mut program = Program::start([status("503 Service Unavailable")]).await;
    let (server, events) = server_with_events(&program).await;
    let begun = Instant::now();
    events.handle(&online("ann"));
    while outcomes(&server, "given_up") == 0 {
        program.next().await.verified();
        tokio::task::yield_now().await;
    }
    assert!(begun.elapsed() >= Duration::from_secs(3600), "{:?}", begun.elapsed());

    program.answers([status("200 OK")]);
    events.handle(&online("bob"));
    while program.next().await.verified()["data"]["user"] != "bob" {}
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_gone_is_not_called_again() {
    let mut program = Program::start([status("410 Gone")]).await;
    let (server, events) = server_with_events(&program).await;
    events.handle(&online("ann"));
    events.handle(&online("bob"));
    assert_eq!(program.next().await.verified()["data"]["user"], "ann");
    while outcomes(&server, "dropped") < 2 {
        tokio::task::yield_now().await;
    }

    events.handle(&online("bob"));
    assert_eq!(outcomes(&server, "dropped"), 3);
    assert_eq!(outcomes(&server, "retried"), 0);
    assert!(program.called.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn an_endless_response_delays_no_event() {
    // The head is a success; the announced body never arrives.
    let endless = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\nand so on".to_vec();
    let mut program = Program::start([Answer::Keeps(endless)]).await;
    let (server, events) = server_with_events(&program).await;
    for user in ["ann", "bob", "cat"] {
        events.handle(&online(user));
        assert_eq!(program.next().await.verified()["data"]["user"], user);
    }
    assert_eq!(outcomes(&server, "retried"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_drops_and_counts_events() {
    let mut program = Program::start([Answer::Hangs]).await;
    let (server, events) = server_with_events(&program).await;
    events.handle(&online("first"));
    program.next().await;
    // More than the queue holds.
    for number in 0..5000 {
        events.handle(&online(&format!("user{number}")));
    }
    assert_eq!(outcomes(&server, "dropped"), 5000 - 4096);

    program.answers([status("200 OK")]);
    while program.next().await.verified()["data"]["user"] == "first" {}
    for number in 1..4096 {
        let event = program.next().await.verified();
        assert_eq!(event["data"]["user"], format!("user{number}"));
    }

    events.handle(&online("last"));
    assert_eq!(program.next().await.verified()["data"]["user"], "last");
}

#[tokio::test]
async fn events_during_a_stop_are_delivered() {
    let mut program = Program::start([status("200 OK")]).await;
    let (server, _events) = server_with_events(&program).await;
    let client = server.log_in("ann").await;
    assert_eq!(program.next_kind().await, "connected");
    assert_eq!(program.next_kind().await, "user_online");

    let shutdown = server.hub.shutdown().clone();
    let reading = Shutdown::new();
    reading.spawn(async move {
        // A client that answers the close.
        let mut client = client;
        while client.next().await.is_some() {}
    });
    assert_eq!(shutdown.finish(Duration::from_secs(60)).await, 0);

    let mut kinds = Vec::new();
    while let Ok(called) = program.called.try_recv() {
        kinds.push(called.verified()["type"].clone());
    }
    assert_eq!(kinds, ["disconnected"]);
}

#[tokio::test]
async fn a_hanging_program_does_not_delay_a_stop() {
    let mut program = Program::start([Answer::Hangs]).await;
    let (server, events) = server_with_events(&program).await;
    for user in ["ann", "bob", "cat"] {
        events.handle(&online(user));
    }
    program.next().await;

    let begun = Instant::now();
    assert_eq!(server.hub.shutdown().finish(Duration::from_secs(60)).await, 0);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!(outcomes(&server, "dropped"), 3);
}

/// Starts a server that sends messages of type `move` to the program.
async fn server_with_messages(webhook: Webhook) -> TestServer {
    let mut server = TestServer::start().await;
    let moves = WebhookMessages::start(webhook, "move", &server.hub).unwrap();
    let config = GatewayConfig::new(server.key.verifier());
    let gateway = rejoin_gateway::Gateway::new(server.hub.clone(), config);
    let gateway = gateway.handle("move", moves).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    server.address = listener.local_addr().unwrap();
    server.hub.shutdown().spawn(gateway.serve(listener));
    server
}

#[tokio::test]
async fn a_program_answers_a_message() {
    let reply = body("200 OK", &json!({ "type": "moved", "payload": { "x": 2 } }));
    let mut program = Program::start([reply]).await;
    let server = server_with_messages(program.webhook()).await;
    let mut client = server.log_in("ann").await;
    let answer = client.ask("move", json!({ "x": 1 })).await;
    assert_eq!((&answer["type"], &answer["payload"]), (&json!("moved"), &json!({ "x": 2 })));

    let call = program.next().await.verified();
    assert_eq!(call["type"], "message");
    let data = &call["data"];
    assert_eq!(data["message_type"], "move");
    assert_eq!(data["payload"], json!({ "x": 1 }));
    assert_eq!((&data["user"], &data["device"]), (&json!("ann"), &Value::Null));
    let ann = UserId::new("ann").unwrap();
    assert_eq!(data["connection"], json!(server.hub.connections_of(&ann)[0].id()));

    program.answers([status("204 No Content")]);
    client.send(json!({ "type": "move" }).to_string()).await;
    assert_eq!(client.ask("ping", json!({})).await["type"], "pong");
    assert_eq!(program.next().await.verified()["data"]["payload"], Value::Null);
}

#[tokio::test]
async fn a_refusal_of_the_program_reaches_the_client() {
    let refusal = json!({ "error": { "message": "not your turn" } });
    let forbidden = json!({ "error": { "message": "not your game", "code": "forbidden" } });
    let answers = [body("409 Conflict", &refusal), body("403 Forbidden", &forbidden)];
    let program = Program::start(answers).await;
    let server = server_with_messages(program.webhook()).await;
    let mut client = server.log_in("ann").await;

    for (code, message) in [("invalid_field", "not your turn"), ("forbidden", "not your game")] {
        let answer = client.ask("move", json!({})).await;
        assert_eq!(answer["type"], "error");
        assert_eq!(
            (&answer["payload"]["code"], &answer["payload"]["message"]),
            (&json!(code), &json!(message))
        );
    }
}

#[tokio::test]
async fn an_invalid_response_is_an_internal_error() {
    let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n{}", " ".repeat(70_000));
    let answers = [
        status("500 Internal Server Error"),
        status("404 Not Found"),
        body("401 Unauthorized", &json!({ "error": "who are you" })),
        body("200 OK", &json!([])),
        status("200 OK"),
        Answer::Says(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n".to_vec()),
        Answer::Says(b"garbage".to_vec()),
        Answer::Says(long.into()),
        Answer::Says(Vec::new()),
    ];
    let count = answers.len();
    let program = Program::start(answers).await;
    let server = server_with_messages(program.webhook()).await;
    let mut client = server.log_in("ann").await;

    for number in 0..count {
        let answer = client.ask("move", json!({})).await;
        assert_eq!(answer["payload"]["code"], "internal", "{number}: {answer}");
        assert_eq!(answer["payload"]["retryable"], true);
    }

    // The program no longer accepts connections.
    let webhook = program.webhook();
    drop(program);
    let server = server_with_messages(webhook).await;
    let answer = server.log_in("ann").await.ask("move", json!({})).await;
    assert_eq!(answer["payload"]["code"], "internal");
}

#[tokio::test]
async fn a_hanging_program_times_out() {
    let program = Program::start([Answer::Hangs]).await;
    let webhook = Webhook { timeout: Duration::from_millis(50), ..program.webhook() };
    let server = server_with_messages(webhook).await;
    let mut client = server.log_in("ann").await;

    let answer = client.ask("move", json!({})).await;

    assert_eq!(answer["payload"]["code"], "timed_out");
    assert_eq!(client.ask("ping", json!({})).await["type"], "pong");
    assert_eq!(outcomes(&server, "timed_out"), 1);
}

#[tokio::test]
async fn the_concurrent_calls_of_a_program_are_limited() {
    let mut program = Program::start([Answer::Hangs]).await;
    let server = TestServer::start().await;
    let _client = server.log_in("ann").await;
    let moves = WebhookMessages::start(program.webhook(), "move", &server.hub).unwrap();
    let moves = Arc::new(moves);
    let ann = server.hub.connections_of(&UserId::new("ann").unwrap())[0].clone();
    for _ in 0..256 {
        let (moves, ann) = (Arc::clone(&moves), ann.clone());
        program.own.spawn(async move { moves.handle(&ann, None).await });
    }

    for _ in 0..256 {
        program.next().await;
    }

    let error = moves.handle(&ann, None).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Overloaded);
}
