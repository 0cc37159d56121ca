//! Keepalive: silent peers are closed, and expiring tokens announced.

use std::time::Duration;

use tokio::time::timeout;

use crate::support::{Client, TestServer, claims};

async fn serve(heartbeat: Duration) -> TestServer {
    let configure = |config: &mut rejoin_gateway::GatewayConfig| config.heartbeat = heartbeat;
    TestServer::start_with(configure, |gateway| gateway).await
}

#[tokio::test]
async fn a_silent_client_is_closed_and_a_responsive_one_kept() {
    let heartbeat = Duration::from_millis(300);
    let server = serve(heartbeat).await;
    let mut responsive = server.log_in("ann").await;
    let mut silent = server.log_in("ann").await;

    // The library answers pings while the client reads.
    let reading = timeout(10 * heartbeat, async { while responsive.next().await.is_some() {} });
    assert!(reading.await.is_err(), "the responsive client was closed");
    assert_eq!(server.hub.connection_count(), 1);
    assert_eq!(silent.until_closed().await.1, Some(4001));
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
async fn a_token_that_expires_soon_is_announced_at_once() {
    let server = TestServer::start().await;
    let expires_at = rejoin_core::now_ms() / 1000 + 30;
    let claims = rejoin_gateway::Claims { exp: Some(expires_at), ..claims("ann") };
    let token = format!("Bearer {}", server.key.sign(&claims).unwrap());
    let request = server.request(&[("authorization", &token)]);
    let (socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let mut client = Client::new(socket);

    assert_eq!(client.next_json().await["type"], "auth_result");

    let expiring = client.next_json().await;
    assert_eq!(expiring["type"], "token_expiring", "{expiring}");
    assert_eq!(expiring["payload"]["expires_at"], expires_at * 1000);
}
