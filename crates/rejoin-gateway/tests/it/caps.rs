//! Caps on connections: exact, whoever races for them.

use std::num::NonZeroUsize;

use futures_util::future::join_all;
use rejoin_protocol::UserId;
use serde_json::json;
use tokio_tungstenite::{connect_async, tungstenite};

use crate::support::{Client, TestServer};

const RACERS: usize = 200;
const RUNS: usize = 20;
const CAP: usize = 17;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_200_racers_exactly_so_many_get_in_as_a_user_may_have_connections() {
    let configure = |config: &mut rejoin_core::HubConfig| {
        config.limits.connections_per_user = NonZeroUsize::new(CAP);
    };
    let server = TestServer::start_hub_with(configure, |_| {}, |gateway| gateway).await;
    let server = &server;
    let race = async || {
        let mut client = server.connect().await;
        let token = server.token("ann");
        let message = json!({ "id": "1", "type": "authenticate", "payload": { "token": token } });
        client.send(message.to_string()).await;
        let answer = client.next_json().await;
        (client, answer)
    };
    let ann = UserId::new("ann").unwrap();
    for run in 1..=RUNS {
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        for (client, answer) in join_all((0..RACERS).map(|_| race())).await {
            assert_eq!(answer["type"], "auth_result");
            if answer["payload"]["authenticated"] == true {
                inside.push(client);
            } else {
                assert_eq!(answer["payload"]["error"]["code"], "connection_limit");
                outside.push(client);
            }
        }
        assert_eq!((inside.len(), outside.len()), (CAP, RACERS - CAP), "run {run}");
        assert_eq!(server.hub.connection_count_of(&ann), CAP);
        for mut client in outside {
            assert_eq!(client.until_closed().await.1, Some(4506));
        }
        let counted = format!(
            r#"connections_refused_total{{reason="connections_per_user"}} {}"#,
            run * (RACERS - CAP)
        );
        assert!(server.hub.metrics().text().contains(&counted));
        drop(inside);
        while server.hub.connection_count() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_200_racers_exactly_so_many_get_in_as_the_server_takes() {
    for _ in 0..RUNS {
        let configure = |config: &mut rejoin_gateway::GatewayConfig| config.max_connections = CAP;
        let server = TestServer::start_with(configure, |gateway| gateway).await;
        let server = &server;
        let bearer = format!("Bearer {}", server.token("ann"));
        let proof = [("authorization", &*bearer)];
        let race = async || connect_async(server.request(&proof)).await;
        let results = join_all((0..RACERS).map(|_| race())).await;
        let refused = results.iter().filter_map(|result| result.as_ref().err());
        let is_busy = |error: &tungstenite::Error| match error {
            tungstenite::Error::Http(response) => response.status() == 503,
            _ => false,
        };
        assert_eq!(refused.filter(|error| is_busy(error)).count(), RACERS - CAP);
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), CAP);
        let counted =
            format!(r#"connections_refused_total{{reason="connections"}} {}"#, RACERS - CAP);
        assert!(server.hub.metrics().text().contains(&counted));
        drop(results);
        // Each place comes back.
        let mut again: Vec<Client> = Vec::new();
        while again.len() < CAP {
            if let Ok((socket, _)) = connect_async(server.request(&proof)).await {
                again.push(Client::new(socket));
            }
        }
        assert!(connect_async(server.request(&[])).await.is_err());
    }
}
