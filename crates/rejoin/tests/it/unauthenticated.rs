//! WebSockets that never authenticate.

use serde_json::json;

use crate::support::TestHome;

#[test]
fn unauthenticated_websockets_keep_no_client_out() {
    let home = TestHome::new();
    let limits = "max_connections = 20\nmax_handshakes = 30\nauth_timeout = \"10m\"\n\
                  connections_per_ip = { count = 0 }\n";
    // A long time limit: only evictions can end the silent WebSockets.
    home.write("rejoin.toml", &format!("[limits]\n{limits}"));
    let server = home.start_server();

    let mut silent: Vec<_> =
        (0..60).map(|_| server.open_without_token("/ws").expect("an upgrade")).collect();

    // The server evicts the oldest and keeps the newest.
    for client in &mut silent[..30] {
        assert_eq!(client.close_code(), 4004);
    }
    for client in &mut silent[30..] {
        client.fence();
    }

    let mut clients: Vec<_> = (0..20).map(|_| server.connect_as_admin()).collect();
    for client in &mut clients {
        assert_eq!(client.request("ping", json!({}))["type"], "pong");
    }

    // One more client is refused, before or after the upgrade.
    assert_eq!(server.open_without_token("/ws").err(), Some(503));

    let authenticate = json!({ "token": server.admin_token() });
    let refused = silent[59].request("authenticate", authenticate);
    assert_eq!(refused["payload"]["error"]["code"], "overloaded", "{refused}");
    assert_eq!(silent[59].close_code(), 4004);
}
