//! A guestbook: a server with a custom message type, whose handler publishes to a topic.
//!
//! Guests send `sign` with a text. The handler validates the text and publishes it to the topic
//! `guestbook` with the user of the connection. Guests may read the topic but not publish to it.
//!
//! ```console
//! $ cargo run --package rejoin-examples --bin guestbook [ADDRESS]
//! ```

use std::{sync::Arc, time::Duration};

use rejoin_core::{
    BoxFuture, Caps, Connection, Hub, HubConfig, Identity, MemoryScreens, MemoryTerminals, Shutdown,
};
use rejoin_gateway::{Claims, Gateway, GatewayConfig, MessageHandler, Reply, Signer, encode};
use rejoin_protocol::{ErrorCode, TopicName, UserId, message::ErrorBody};
use serde::Deserialize;
use serde_json::{json, value::RawValue, value::to_raw_value};
use tokio::net::TcpListener;

/// The longest text of an entry, in characters.
const MAX_CHARS: usize = 280;

struct Guestbook {
    hub: Hub,
    topic: TopicName,
    /// Has the right to publish, which guests do not have.
    publisher: Identity,
}

#[derive(Deserialize)]
struct Entry {
    text: String,
}

impl MessageHandler for Guestbook {
    fn handle<'a>(
        &'a self,
        connection: &'a Connection,
        payload: Option<&'a RawValue>,
    ) -> BoxFuture<'a, Result<Option<Reply>, ErrorBody>> {
        Box::pin(async move {
            let invalid = |message| ErrorBody::new(ErrorCode::InvalidField, message);
            let payload = payload.map_or("{}", RawValue::get);
            let entry: Entry = serde_json::from_str(payload).map_err(|e| invalid(e.to_string()))?;
            let length = entry.text.trim().chars().count();
            if length == 0 || length > MAX_CHARS {
                return Err(invalid(format!("`text` must have 1 to {MAX_CHARS} characters")));
            }

            let data = to_raw_value(&json!({ "from": connection.user(), "text": entry.text }))
                .map_err(|_| ErrorBody::from(ErrorCode::Internal))?;
            let position = self.hub.publish(&self.topic, &self.publisher, &data, None).await?;
            let payload = json!({ "position": position });
            Ok(Some(Reply { kind: "signed".to_owned(), payload }))
        })
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the address and the tokens are its output")]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7401".to_owned());
    let shutdown = Shutdown::new();

    // Topics only: a hub without profiles starts no terminal.
    let config = HubConfig::new(encode, MemoryTerminals::new(), Arc::new(MemoryScreens));
    let hub = Hub::new(config, &shutdown);

    // A gateway that accepts tokens signed with a new secret.
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    let signer = Signer::hs256(&secret)?;
    let guestbook = Guestbook {
        hub: hub.clone(),
        topic: TopicName::new("guestbook")?,
        publisher: Identity::new(UserId::new("guestbook")?, Caps::admin()),
    };
    let gateway =
        Gateway::new(hub, GatewayConfig::new(signer.verifier())).handle("sign", guestbook)?;

    let listener = TcpListener::bind(&address).await?;
    println!("ws://{}/ws", listener.local_addr()?);
    for guest in ["ann", "bob"] {
        println!("{guest} {}", signer.sign(&guest_claims(guest)?)?);
    }

    tokio::select! {
        result = gateway.serve(listener) => result?,
        result = tokio::signal::ctrl_c() => result?,
    }
    shutdown.finish(Duration::from_secs(10)).await;
    Ok(())
}

/// Returns the claims of a token that allows a guest to read the guestbook. It never expires.
fn guest_claims(guest: &str) -> anyhow::Result<Claims> {
    let caps = serde_json::from_value(json!({ "topics": { "guestbook": ["subscribe"] } }))?;
    Ok(Claims { caps: Some(caps), ..Claims::new(UserId::new(guest)?) })
}
