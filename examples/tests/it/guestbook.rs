//! The guestbook.

use std::{
    io::{BufRead, BufReader},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, WebSocket, connect, stream::MaybeTlsStream};

/// The program, and what it says: its address, then a guest and a token in each line.
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

    fn welcome(&self, guest: &str) -> Guest {
        let (_, token) = self.guests.iter().find(|(name, _)| name == guest).unwrap();
        let mut guest = Guest(connect(&self.url).unwrap().0);
        let answer = guest.ask("authenticate", json!({ "token": token }));
        assert_eq!(answer["payload"]["authenticated"], true, "{answer}");
        guest
    }
}

impl Drop for Guestbook {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct Guest(pub(crate) WebSocket<MaybeTlsStream<TcpStream>>);

impl Guest {
    #[expect(clippy::needless_pass_by_value, reason = "callers make it in place")]
    pub(crate) fn ask(&mut self, kind: &str, payload: Value) -> Value {
        let message = json!({ "id": kind, "type": kind, "payload": payload });
        self.0.send(Message::text(message.to_string())).unwrap();
        self.until(|message| message["reply_to"] == kind)
    }

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
fn who_signs_is_read_by_all_guests() {
    let guestbook = Guestbook::start();
    let (mut ann, mut bob) = (guestbook.welcome("ann"), guestbook.welcome("bob"));
    let subscribed = ann.ask("subscribe", json!({ "topic": "guestbook" }));
    assert_eq!(subscribed["payload"]["verdict"], "fresh", "{subscribed}");
    let signed = bob.ask("sign", json!({ "text": "Was here." }));
    assert_eq!(signed["type"], "signed", "{signed}");
    let message = ann.until(|message| message["type"] == "message");
    assert_eq!(message["payload"]["data"], json!({ "from": "bob", "text": "Was here." }));
    assert_eq!(message["payload"]["position"], signed["payload"]["position"]);
}

#[test]
fn what_does_not_belong_into_a_guestbook_is_refused() {
    let guestbook = Guestbook::start();
    let mut bob = guestbook.welcome("bob");
    for payload in [json!({}), json!({ "text": " " }), json!({ "text": "x".repeat(281) })] {
        let answer = bob.ask("sign", payload);
        assert_eq!(answer["payload"]["code"], "invalid_field", "{answer}");
    }
    let publish = json!({ "topic": "guestbook", "data": { "from": "ann", "text": "forged" } });
    assert_eq!(bob.ask("publish", publish)["payload"]["code"], "forbidden");
    assert_eq!(bob.ask("sign", json!({ "text": "x".repeat(280) }))["type"], "signed");
}
