//! Whether a peer is alive, and how long its token lets it be.

use std::time::Duration;

use tokio::time::timeout;

use crate::support::{Client, TestServer, claims};

async fn serve(heartbeat: Duration) -> TestServer {
    let configure = |config: &mut rejoin_gateway::GatewayConfig| config.heartbeat = heartbeat;
    TestServer::start_with(configure, |gateway| gateway).await
}

#[tokio::test]
async fn a_client_that_answers_pings_is_kept_and_a_silent_one_closed() {
    let heartbeat = Duration::from_millis(300);
    let server = serve(heartbeat).await;
    let mut alive = server.log_in("ann").await;
    let mut dead = server.log_in("ann").await;
    // A client that reads answers pings by itself.
    let a_while = timeout(10 * heartbeat, async { while alive.next().await.is_some() {} });
    assert!(a_while.await.is_err(), "it was closed");
    assert_eq!(server.hub.connection_count(), 1);
    assert_eq!(dead.until_closed().await.1, Some(4001));
}

#[tokio::test]
async fn a_socket_that_falls_silent_leaves_the_hub() {
    let server = serve(Duration::from_millis(100)).await;
    let client = server.log_in("ann").await;
    while server.hub.connection_count() > 0 {
        tokio::task::yield_now().await;
    }
    drop(client);
}

#[tokio::test]
async fn a_token_that_ends_soon_is_announced_at_once() {
    let server = TestServer::start().await;
    let expires_at = rejoin_core::now_ms() / 1000 + 30;
    let token = rejoin_gateway::Claims { exp: Some(expires_at), ..claims("ann") };
    let token = format!("Bearer {}", server.key.sign(&token).unwrap());
    let request = server.request(&[("authorization", &token)]);
    let (socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let mut client = Client::new(socket);
    assert_eq!(client.next_json().await["type"], "auth_result");
    let expiring = client.next_json().await;
    assert_eq!(expiring["type"], "token_expiring", "{expiring}");
    assert_eq!(expiring["payload"]["expires_at"], expires_at * 1000);
}
