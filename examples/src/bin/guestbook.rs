//! A guestbook: a server with a message type of its own, whose handler publishes to a topic.
//!
//! Guests send `sign` with a text. The handler checks it and publishes it, with the name that
//! the token vouches for, to the topic `guestbook`, which guests can read but not write.
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

const MAX_CHARS: usize = 280;

struct Guestbook {
    hub: Hub,
    topic: TopicName,
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
            let wrong = |sentence| ErrorBody::new(ErrorCode::InvalidField, sentence);
            let payload = payload.map_or("{}", RawValue::get);
            let entry: Entry = serde_json::from_str(payload).map_err(|e| wrong(e.to_string()))?;
            let length = entry.text.trim().chars().count();
            if length == 0 || length > MAX_CHARS {
                return Err(wrong(format!("`text` must be 1 to {MAX_CHARS} characters")));
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
#[expect(clippy::print_stdout, reason = "the address and the tokens are what the person needs")]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7401".to_owned());
    let shutdown = Shutdown::new();
    // Topics only: without profiles no terminal is ever started.
    let config = HubConfig::new(encode, MemoryTerminals::new(), Arc::new(MemoryScreens));
    let hub = Hub::new(config, &shutdown);
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    let signer = Signer::hs256(&secret)?;
    let guestbook = Guestbook {
        hub: hub.clone(),
        topic: TopicName::new("guestbook")?,
        // The program's own rights: guests have none to publish.
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

/// Whoever has this token may read the guestbook, until the secret changes.
fn guest_claims(guest: &str) -> anyhow::Result<Claims> {
    let caps = serde_json::from_value(json!({ "topics": { "guestbook": ["subscribe"] } }))?;
    Ok(Claims { caps: Some(caps), ..Claims::new(UserId::new(guest)?) })
}
