//! The delivery of output and messages to the right connections.

use serde_json::json;

use crate::support::{TestHome, frame_client::FrameClient};

/// Types a command and waits for its output, which must differ from the echo of the command.
fn run(client: &mut FrameClient, session: &str, command: &str, printed: &str) {
    let input = json!({ "session": session, "data": format!("{command}\n") });
    let reply = client.request("input", input);
    assert_eq!(reply["type"], "ack", "{reply}");

    client.wait_for_output(printed);
}

#[test]
fn two_terminals_are_isolated() {
    let home = TestHome::new();
    let server = home.start_server();
    let open = || {
        let mut client = server.frame_client(server.admin_token(), "laptop");
        let session = client.attach_to_new_terminal();
        (client, session)
    };

    let ((mut first, one), (mut second, other)) = (open(), open());
    run(&mut first, &one, "echo of-the-$((1+0))st", "of-the-1st");
    run(&mut second, &other, "echo of-the-$((1+1))nd", "of-the-2nd");

    let screen = |session: &str| server.admin_api().text(&format!("/sessions/{session}/screen"));
    assert!(screen(&one).contains("of-the-1st") && !screen(&one).contains("of-the-2nd"));
    assert!(screen(&other).contains("of-the-2nd") && !screen(&other).contains("of-the-1st"));

    // A connection that is not attached cannot signal the program.
    let refused = first.request("signal", json!({ "session": other, "signal": "SIGKILL" }));
    assert_eq!(refused["payload"]["code"], "not_attached", "{refused}");
}

#[test]
fn a_broadcast_reaches_each_of_ten_connections_once() {
    let home = TestHome::new();
    let server = home.start_server();

    let mut clients: Vec<_> = (0..10)
        .map(|_| {
            let mut client = server.frame_client(server.admin_token(), "laptop");
            assert_eq!(client.request("subscribe", json!({ "topic": "news" }))["type"], "ack");
            client
        })
        .collect();

    for data in ["first", "last"] {
        server.admin_api().publish("news", &json!(data));
    }

    for client in &mut clients {
        let mut next = || client.wait_for(|message| message["type"] == "message").unwrap();
        assert_eq!(next()["payload"]["data"], "first");
        assert_eq!(next()["payload"]["data"], "last");
    }
}
