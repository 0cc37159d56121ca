//! Tests of the guestbook, and its WebSocket client.

use std::{
    io::{BufRead, BufReader},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, WebSocket, connect, stream::MaybeTlsStream};

/// The program, and its output: the address, then a guest and a token in each line.
struct Guestbook {
    child: Child,
    url: String,
    guests: Vec<(String, String)>,
}

impl Guestbook {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_guestbook"));
        let mut child = command.arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let url = lines.next().expect("an address");
        let guest = |line: String| {
            let (name, token) = line.split_once(' ').unwrap();
            (name.to_owned(), token.to_owned())
        };
        Self { child, url, guests: lines.take(2).map(guest).collect() }
    }

    fn connect(&self, guest: &str) -> Guest {
        let (_, token) = self.guests.iter().find(|(name, _)| name == guest).unwrap();
        let mut guest = Guest(connect(&self.url).unwrap().0);
        let reply = guest.request("authenticate", json!({ "token": token }));
        assert_eq!(reply["payload"]["authenticated"], true, "{reply}");
        guest
    }
}

impl Drop for Guestbook {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An authenticated WebSocket of a guest.
pub(crate) struct Guest(pub(crate) WebSocket<MaybeTlsStream<TcpStream>>);

impl Guest {
    /// Sends a request and waits for its reply.
    #[expect(clippy::needless_pass_by_value, reason = "callers pass a literal")]
    pub(crate) fn request(&mut self, kind: &str, payload: Value) -> Value {
        let message = json!({ "id": kind, "type": kind, "payload": payload });
        self.0.send(Message::text(message.to_string())).unwrap();
        self.until(|message| message["reply_to"] == kind)
    }

    /// Waits for the first message that matches.
    fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Message::Text(text) = self.0.read().unwrap() {
                let message = serde_json::from_str(&text).unwrap();
                if wanted(&message) {
                    return message;
                }
            }
        }
    }
}

#[test]
fn a_signed_entry_reaches_other_guests() {
    let guestbook = Guestbook::start();
    let (mut ann, mut bob) = (guestbook.connect("ann"), guestbook.connect("bob"));

    let subscribed = ann.request("subscribe", json!({ "topic": "guestbook" }));
    assert_eq!(subscribed["payload"]["verdict"], "fresh", "{subscribed}");

    let signed = bob.request("sign", json!({ "text": "Was here." }));
    assert_eq!(signed["type"], "signed", "{signed}");

    let message = ann.until(|message| message["type"] == "message");
    assert_eq!(message["payload"]["data"], json!({ "from": "bob", "text": "Was here." }));
    assert_eq!(message["payload"]["position"], signed["payload"]["position"]);
}

#[test]
fn invalid_entries_and_direct_publishes_are_refused() {
    let guestbook = Guestbook::start();
    let mut bob = guestbook.connect("bob");

    for payload in [json!({}), json!({ "text": " " }), json!({ "text": "x".repeat(281) })] {
        let reply = bob.request("sign", payload);
        assert_eq!(reply["payload"]["code"], "invalid_field", "{reply}");
    }

    let publish = json!({ "topic": "guestbook", "data": { "from": "ann", "text": "forged" } });
    assert_eq!(bob.request("publish", publish)["payload"]["code"], "forbidden");
    assert_eq!(bob.request("sign", json!({ "text": "x".repeat(280) }))["type"], "signed");
}
