//! Whether a peer is alive, and how long its token lets it be.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::support::{Client, TestServer, claims};

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_pings_is_kept_and_one_that_does_not_is_let_go() {
    let server = TestServer::start().await;
    let mut alive = server.log_in("ann").await;
    let mut dead = server.log_in("ann").await;
    // A client that reads answers pings by itself.
    let hour = timeout(Duration::from_secs(3600), async { while alive.next().await.is_some() {} });
    assert!(hour.await.is_err(), "it was let go");
    assert_eq!(server.hub.connection_count(), 1);
    assert_eq!(dead.until_closed().await.1, Some(4001));
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_is_gone_without_a_word_leaves_the_hub() {
    let server = TestServer::start().await;
    let client = server.log_in("ann").await;
    while server.hub.connection_count() > 0 {
        sleep(Duration::from_secs(1)).await;
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
