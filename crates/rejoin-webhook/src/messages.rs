//! Messages that are not built in, answered by a program behind HTTP.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use rejoin_core::{Connection, Hub, Shutdown, now_ms};
use rejoin_http_client::{ConnectionTasks, HttpClient, HttpClientError, StatusCode};
use rejoin_protocol::{ConnectionId, DeviceId, ErrorCode, UserId, message::ErrorBody};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use tokio::{sync::Semaphore, time::timeout};
use tracing::{debug, warn};

use crate::{
    metrics::WebhookMetrics,
    target::{Webhook, WebhookError, new_id},
};

/// The maximum number of concurrent calls of one message type. Above it, messages are refused.
const MAX_CALLS: u32 = 256;
/// The maximum number of idle connections to the target.
const MAX_IDLE: usize = 16;
/// The longest answer, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// A handler of one message type that calls a webhook.
pub struct WebhookMessages {
    kind: Box<str>,
    webhook: Webhook,
    client: HttpClient,
    /// One permit for each further call.
    calls: Arc<Semaphore>,
    metrics: Arc<WebhookMetrics>,
}

/// The answer of the program.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    /// The message type of the reply.
    #[serde(rename = "type")]
    pub kind: String,
    /// The payload of the reply.
    #[serde(default)]
    pub payload: Value,
}

/// The body of a request.
#[derive(Serialize)]
struct Call<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    time: u64,
    data: Message<'a>,
}

#[derive(Serialize)]
struct Message<'a> {
    message_type: &'a str,
    payload: Option<&'a RawValue>,
    user: &'a UserId,
    connection: &'a ConnectionId,
    device: Option<&'a DeviceId>,
}

/// The answer of a program that refuses a message.
#[derive(Deserialize)]
struct Refusal {
    error: RefusalError,
}

#[derive(Deserialize)]
struct RefusalError {
    /// A code of the protocol; `invalid_field` if missing.
    code: Option<ErrorCode>,
    message: String,
}

/// The reason why there is no answer. The client is not to blame.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("the response has status {0}")]
    Status(StatusCode),
    #[error("the response is malformed: {0}")]
    Answer(serde_json::Error),
    #[error(transparent)]
    Client(#[from] HttpClientError),
}

impl WebhookMessages {
    /// Returns a handler of messages of type `kind`, whose calls belong to the hub's shutdown.
    ///
    /// # Errors
    /// [`WebhookError::Roots`] if the machine trusts no certificate authority.
    pub fn start(webhook: Webhook, kind: &str, hub: &Hub) -> Result<Self, WebhookError> {
        let calls = Arc::new(Semaphore::new(MAX_CALLS as usize));
        let tasks = ConnectionTasks { shutdown: hub.shutdown().clone(), end: Shutdown::new() };
        let client = webhook.client(tasks.clone(), MAX_IDLE)?;

        let (calls_under_way, limit) = (Arc::clone(&calls), webhook.timeout);
        hub.shutdown().spawn(async move {
            tasks.shutdown.begun().await;
            // Lets calls under way complete: all permits are free when none is left.
            let _ = timeout(limit, calls_under_way.acquire_many(MAX_CALLS)).await;
            tasks.end.begin();
        });
        let metrics = hub.metrics().group();
        Ok(Self { kind: kind.into(), webhook, client, calls, metrics })
    }

    /// Sends a message to the program, and returns its answer. `None`: no reply is sent.
    ///
    /// # Errors
    /// The error for the client: the program's own, or `overloaded`, `timed_out`, `internal`.
    pub async fn call(
        &self,
        connection: &Connection,
        payload: Option<&RawValue>,
    ) -> Result<Option<Answer>, ErrorBody> {
        // Refused at once, not queued: a slow program would make clients wait without a limit.
        let Ok(_permit) = self.calls.try_acquire() else {
            self.metrics.count("overloaded");
            return Err(ErrorCode::Overloaded.into());
        };
        let id = new_id();
        let body = self.body(&id, connection, payload);
        let request = timeout(self.webhook.timeout, self.request(&id, body));

        let (url, kind, user) = (&self.webhook.url, &self.kind, connection.user());
        let connection = connection.id();
        match request.await {
            Ok(Ok(Ok(answer))) => {
                self.metrics.count("answered");
                Ok(answer)
            }
            Ok(Ok(Err(error))) => {
                self.metrics.count("refused");
                debug!(%url, kind, %user, %connection, %error, "a webhook refused a message");
                Err(error)
            }
            Ok(Err(error)) => {
                self.metrics.count("failed");
                // The cause stays in the log. It may name internal hosts.
                warn!(%url, kind, %user, %connection, %error, "a webhook failed");
                Err(ErrorCode::Internal.into())
            }
            Err(_) => {
                self.metrics.count("timed_out");
                warn!(%url, kind, %user, %connection, "a webhook did not answer in time");
                Err(ErrorCode::TimedOut.into())
            }
        }
    }

    fn body(&self, id: &str, connection: &Connection, payload: Option<&RawValue>) -> Bytes {
        let data = Message {
            message_type: &self.kind,
            payload,
            user: connection.user(),
            connection: connection.id(),
            device: connection.device().id.as_ref(),
        };
        let call = Call { id, kind: "message", time: now_ms(), data };
        serde_json::to_vec(&call).expect("texts, numbers and JSON make JSON").into()
    }

    async fn request(
        &self,
        id: &str,
        body: Bytes,
    ) -> Result<Result<Option<Answer>, ErrorBody>, CallError> {
        let response = self.client.send(self.webhook.request(id, body)).await?;
        let status = response.status();
        let body = response.body(MAX_ANSWER_BYTES).await?;
        match status {
            StatusCode::NO_CONTENT => Ok(Ok(None)),
            StatusCode::OK => {
                let answer = serde_json::from_slice(&body).map_err(CallError::Answer)?;
                Ok(Ok(Some(answer)))
            }
            // A 4xx of the program has this body. One without comes from a proxy or a wrong URL,
            // so the client is not to blame.
            _ if status.is_client_error() => match serde_json::from_slice(&body) {
                Ok(Refusal { error: RefusalError { code, message } }) => {
                    Ok(Err(ErrorBody::new(code.unwrap_or(ErrorCode::InvalidField), message)))
                }
                Err(_) => Err(CallError::Status(status)),
            },
            _ => Err(CallError::Status(status)),
        }
    }
}

impl fmt::Debug for WebhookMessages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, webhook, .. } = self;
        f.debug_struct("WebhookMessages")
            .field("kind", kind)
            .field("webhook", webhook)
            .finish_non_exhaustive()
    }
}
