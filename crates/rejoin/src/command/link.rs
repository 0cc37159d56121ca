//! A client's link to a server, for the commands.

use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use rejoin_core::Caps;
use rejoin_gateway::Claims;
use rejoin_protocol::{SUBPROTOCOL, UserId};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

use crate::command::{ConfigFile, secret};

/// How long a command's own token is valid, in seconds; it is made anew for each connection.
const TOKEN_SECONDS: u64 = 60;
/// How long a server may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Which server, and as whom.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    /// The server [default: where the configuration says that it listens].
    #[arg(long, value_name = "URL", env = "REJOIN_URL")]
    url: Option<String>,
    /// A token [default: one signed with the local server's secret].
    #[arg(long, value_name = "TOKEN", env = "REJOIN_TOKEN", hide_env_values = true)]
    token: Option<String>,
    #[command(flatten)]
    file: ConfigFile,
}

/// An authenticated connection.
pub(super) struct Link {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Messages that came while an answer was awaited.
    early: Vec<Value>,
    next_id: u64,
}

/// Why a server cannot be used; trying again is pointless.
#[derive(Debug)]
pub(super) struct Refused(pub(super) String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl Target {
    /// Connects and authenticates.
    pub(super) async fn connect(&self) -> anyhow::Result<Link> {
        let config = self.file.load(None)?;
        let url = match &self.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{}", config.server.listen),
        };
        let token = match &self.token {
            Some(token) => token.clone(),
            None => {
                let user = UserId::new("command-line").expect("a valid user id");
                let claims = Claims {
                    caps: Some(Caps::admin()),
                    iss: config.auth.issuer.clone(),
                    aud: config.auth.audience.clone().map(Into::into),
                    ..secret::claims(user, TOKEN_SECONDS)
                };
                secret::open(&config).context("no --token is given")?.sign(&claims)?
            }
        };
        let Some(server) = url.strip_prefix("http://") else {
            return Err(Refused(format!("{url:?} is not a server; write http://HOST:PORT")).into());
        };
        let address = format!("ws://{server}/ws");
        let mut request = address.as_str().into_client_request().context(url.clone())?;
        let name = HeaderValue::from_static(SUBPROTOCOL);
        request.headers_mut().insert("Sec-WebSocket-Protocol", name);
        let connected = tokio::time::timeout(ANSWER, connect_async(request)).await;
        let connected = connected.with_context(|| format!("{url} does not answer"))?;
        let (socket, _) = connected.with_context(|| format!("cannot connect to {url}"))?;
        let mut link = Link { socket, early: Vec::new(), next_id: 0 };
        link.ask("authenticate", json!({ "token": token })).await?;
        Ok(link)
    }
}

impl Link {
    /// Sends a message and waits for its answer's payload.
    pub(super) async fn ask(&mut self, kind: &str, payload: Value) -> anyhow::Result<Value> {
        self.next_id += 1;
        let id = self.next_id.to_string();
        let message = json!({ "id": id, "type": kind, "payload": payload });
        self.socket.send(Message::text(message.to_string())).await?;
        let answer = tokio::time::timeout(ANSWER, self.answer(&id)).await;
        let mut answer = answer.with_context(|| format!("no answer to `{kind}`"))??;
        let payload = answer["payload"].take();
        let error = match &answer["type"] {
            kind if kind == "error" => Some(&payload),
            _ if payload["authenticated"] == false => Some(&payload["error"]),
            _ => None,
        };
        if let Some(error) = error {
            let message = error["message"].as_str().unwrap_or("refused").to_owned();
            if error["retryable"] == true {
                bail!(message);
            }
            return Err(Refused(message).into());
        }
        Ok(payload)
    }

    /// Waits for the next message that answers nothing; `None` at the end of the connection.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<Value>> {
        if !self.early.is_empty() {
            return Ok(Some(self.early.remove(0)));
        }
        self.receive().await
    }

    async fn answer(&mut self, id: &str) -> anyhow::Result<Value> {
        while let Some(message) = self.receive().await? {
            if message["reply_to"] == id {
                return Ok(message);
            }
            self.early.push(message);
        }
        bail!("the server closed the connection")
    }

    async fn receive(&mut self) -> anyhow::Result<Option<Value>> {
        while let Some(message) = self.socket.next().await {
            if let Message::Text(text) = message? {
                return Ok(Some(serde_json::from_str(&text)?));
            }
        }
        Ok(None)
    }
}
