//! Limits on connections are exact under races.

use std::num::NonZeroUsize;

use futures_util::future::join_all;
use rejoin_protocol::UserId;
use serde_json::json;
use tokio_tungstenite::{connect_async, tungstenite};

use crate::support::{Client, TestServer};

const CLIENTS: usize = 200;
const RUNS: usize = 10;
const LIMIT: usize = 17;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_per_user_is_exact_under_races() {
    let configure = |config: &mut rejoin_core::HubConfig| {
        config.limits.connections_per_user = NonZeroUsize::new(LIMIT);
    };
    let server = TestServer::start_hub_with(configure, |_| {}, |gateway| gateway).await;
    let server = &server;
    let connect = async || {
        let mut client = server.connect().await;
        let token = server.token("ann");
        let message = json!({ "id": "1", "type": "authenticate", "payload": { "token": token } });
        client.send(message.to_string()).await;
        let answer = client.next_json().await;
        (client, answer)
    };

    let ann = UserId::new("ann").unwrap();
    for run in 1..=RUNS {
        let (mut accepted, mut refused) = (Vec::new(), Vec::new());
        for (client, answer) in join_all((0..CLIENTS).map(|_| connect())).await {
            assert_eq!(answer["type"], "auth_result");

            if answer["payload"]["authenticated"] == true {
                accepted.push(client);
            } else {
                assert_eq!(answer["payload"]["error"]["code"], "connection_limit");
                refused.push(client);
            }
        }

        assert_eq!((accepted.len(), refused.len()), (LIMIT, CLIENTS - LIMIT), "run {run}");
        assert_eq!(server.hub.connection_count_of(&ann), LIMIT);

        for mut client in refused {
            assert_eq!(client.until_closed().await.1, Some(4506));
        }
        let counted = format!(
            r#"connections_refused_total{{reason="connections_per_user"}} {}"#,
            run * (CLIENTS - LIMIT)
        );
        assert!(server.hub.metrics().text().contains(&counted));

        drop(accepted);
        while server.hub.connection_count() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_of_the_server_is_exact_under_races() {
    for _ in 0..RUNS {
        let configure = |config: &mut rejoin_gateway::GatewayConfig| config.max_connections = LIMIT;
        let server = TestServer::start_with(configure, |gateway| gateway).await;
        let server = &server;
        let bearer = format!("Bearer {}", server.token("ann"));
        let headers = [("authorization", &*bearer)];
        let connect = async || connect_async(server.request(&headers)).await;
        let results = join_all((0..CLIENTS).map(|_| connect())).await;
        let refused = results.iter().filter_map(|result| result.as_ref().err());
        let is_busy = |error: &tungstenite::Error| match error {
            tungstenite::Error::Http(response) => response.status() == 503,
            _ => false,
        };

        assert_eq!(refused.filter(|error| is_busy(error)).count(), CLIENTS - LIMIT);
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), LIMIT);

        let counted =
            format!(r#"connections_refused_total{{reason="connections"}} {}"#, CLIENTS - LIMIT);
        assert!(server.hub.metrics().text().contains(&counted));

        drop(results);

        // Each permit is available again.
        let mut again: Vec<Client> = Vec::new();
        while again.len() < LIMIT {
            if let Ok((socket, _)) = connect_async(server.request(&headers)).await {
                again.push(Client::new(socket));
            }
        }

        assert!(connect_async(server.request(&[])).await.is_err());
    }
}
