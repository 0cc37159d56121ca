//! A client of the server, for the commands that connect to one.

use std::{collections::VecDeque, time::Duration};

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use rejoin_core::Caps;
use rejoin_gateway::Claims;
use rejoin_protocol::{SUBPROTOCOL, UserId};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

use crate::{
    command::{ConfigArgs, credentials},
    config::Config,
    data_dir,
};

/// Lifetime of a token that a command signs for itself, in seconds. Each connection gets a new one.
const TOKEN_SECONDS: u64 = 60;
/// Time limit for a connect, and for each reply of the server.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// The arguments that name the server and the token.
#[derive(Debug, clap::Args)]
pub(crate) struct ServerArgs {
    /// URL of the server [default: the running server's, or that of `server.listen`].
    #[arg(long, value_name = "URL", env = "REJOIN_URL")]
    url: Option<String>,
    /// Token to log in with [default: a token signed with the local server's secret].
    #[arg(long, value_name = "TOKEN", env = "REJOIN_TOKEN", hide_env_values = true)]
    token: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// An authenticated connection to a server.
pub(super) struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Messages that arrived while a request waited for its reply, in order.
    unread: VecDeque<Value>,
    /// The id of the last request.
    last_id: u64,
}

/// An error that a retry cannot resolve.
#[derive(Debug)]
pub(super) struct Refusal(String);

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

impl ServerArgs {
    /// Connects and authenticates.
    ///
    /// # Errors
    /// A [`Refusal`] if the URL is not one of a server, or if the server rejects the token.
    pub(super) async fn connect(&self) -> anyhow::Result<Client> {
        let config = self.config.load(None)?;
        let url = match &self.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => data_dir::server_url(&config),
        };
        let token = match &self.token {
            Some(token) => token.clone(),
            None => sign_own_token(&config)?,
        };

        // No TLS: the commands are for servers on this machine or behind a tunnel.
        let server = url.strip_prefix("http://");
        let request = server.map(|server| format!("ws://{server}/ws").into_client_request());
        let Some(Ok(mut request)) = request else {
            let text = format!("{url:?} is not the URL of a server; write http://HOST:PORT");
            return Err(Refusal(text).into());
        };
        let name = HeaderValue::from_static(SUBPROTOCOL);
        request.headers_mut().insert("Sec-WebSocket-Protocol", name);

        let connected = timeout(REPLY_TIMEOUT, connect_async(request)).await;
        let connected =
            connected.with_context(|| format!("{url} did not answer within {REPLY_TIMEOUT:?}"))?;
        let (socket, _) = connected.with_context(|| format!("cannot connect to {url}"))?;
        let mut client = Client { socket, unread: VecDeque::new(), last_id: 0 };
        client.request("authenticate", json!({ "token": token })).await?;
        Ok(client)
    }
}

/// Signs an administrator's token with the local server's secret.
fn sign_own_token(config: &Config) -> anyhow::Result<String> {
    let user = UserId::new("command-line").expect("a valid user id");
    let claims = Claims {
        caps: Some(Caps::admin()),
        iss: config.auth.issuer.clone(),
        aud: config.auth.audience.clone().map(Into::into),
        ..credentials::claims(user, TOKEN_SECONDS)
    };

    let signer = credentials::open_signer(config);
    let signer = signer.context("no --token is given, and this command cannot sign one")?;
    Ok(signer.sign(&claims)?)
}

impl Client {
    /// Sends a message and returns the payload of its reply.
    ///
    /// # Errors
    /// A [`Refusal`] if the reply is an error that is not retryable.
    pub(super) async fn request(&mut self, kind: &str, payload: Value) -> anyhow::Result<Value> {
        self.last_id += 1;
        let id = self.last_id.to_string();
        let message = json!({ "id": id, "type": kind, "payload": payload });
        self.socket.send(Message::text(message.to_string())).await?;

        let reply = timeout(REPLY_TIMEOUT, self.reply_to(&id)).await;
        let mut reply = reply.with_context(|| {
            format!("the server did not answer `{kind}` within {REPLY_TIMEOUT:?}")
        })??;

        // `auth_result` is not an error message: it carries the error of a refused token.
        let payload = reply["payload"].take();
        let error = match &reply["type"] {
            kind if kind == "error" => Some(&payload),
            _ if payload["authenticated"] == false => Some(&payload["error"]),
            _ => None,
        };
        if let Some(error) = error {
            let text = error["message"].as_str().unwrap_or("the server refused").to_owned();
            if error["retryable"] == true {
                bail!(text);
            }
            return Err(Refusal(text).into());
        }
        Ok(payload)
    }

    /// Returns the next message that is not a reply, or `None` at the end of the connection.
    pub(super) async fn next_message(&mut self) -> anyhow::Result<Option<Value>> {
        match self.unread.pop_front() {
            Some(message) => Ok(Some(message)),
            None => self.receive().await,
        }
    }

    /// Returns the reply to a request. Keeps all other messages for [`Self::next_message`].
    async fn reply_to(&mut self, id: &str) -> anyhow::Result<Value> {
        while let Some(message) = self.receive().await? {
            if message["reply_to"] == id {
                return Ok(message);
            }
            self.unread.push_back(message);
        }
        bail!("the server closed the connection")
    }

    async fn receive(&mut self) -> anyhow::Result<Option<Value>> {
        while let Some(message) = self.socket.next().await {
            // Binary messages belong to attached sessions, which no command has.
            if let Message::Text(text) = message? {
                return Ok(Some(serde_json::from_str(&text)?));
            }
        }
        Ok(None)
    }
}
