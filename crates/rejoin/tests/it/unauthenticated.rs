//! WebSockets that have not authenticated.

use serde_json::json;

use crate::support::Home;

#[test]
fn websockets_that_never_authenticate_keep_nobody_out() {
    let home = Home::new();
    let limits = "max_connections = 20\nmax_handshakes = 30\nauth_timeout = \"10m\"\n\
                  connections_per_ip = { count = 0 }\n";
    home.write("rejoin.toml", &format!("[limits]\n{limits}"));
    let server = home.serve();
    let mut silent: Vec<_> =
        (0..60).map(|_| server.open_without_token("/ws").expect("an upgrade")).collect();
    // The oldest made room, and the newest are still there.
    for client in &mut silent[..30] {
        assert_eq!(client.close_code(), 4004);
    }
    for client in &mut silent[30..] {
        client.fence();
    }
    let mut clients: Vec<_> = (0..20).map(|_| server.log_in()).collect();
    for client in &mut clients {
        assert_eq!(client.ask("ping", json!({}))["type"], "pong");
    }
    // One too many is refused, before or after the upgrade.
    assert_eq!(server.open_without_token("/ws").err(), Some(503));
    let authenticate = json!({ "token": server.login_token() });
    let refused = silent[59].ask("authenticate", authenticate);
    assert_eq!(refused["payload"]["error"]["code"], "overloaded", "{refused}");
    assert_eq!(silent[59].close_code(), 4004);
}
