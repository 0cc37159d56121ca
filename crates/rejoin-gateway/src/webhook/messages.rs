//! Messages that are not built in, answered by a program behind HTTP (B2).

use std::{fmt, sync::Arc};

use bytes::Bytes;
use hyper::StatusCode;
use rejoin_core::{BoxFuture, Connection, Hub, Metrics, Shutdown, now_ms};
use rejoin_protocol::{ConnectionId, DeviceId, ErrorCode, UserId, message::ErrorBody};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use tokio::{sync::Semaphore, time::timeout};
use tracing::{debug, warn};

use crate::{
    handler::{MessageHandler, Reply},
    outgoing::{self, Outgoing, OutgoingError, Tasks},
    webhook::{Webhook, WebhookError, new_id},
};

/// Calls that one type of message may have under way; one more is refused.
const MAX_CALLS: u32 = 256;
/// Connections that wait for the next call.
const MAX_KEPT: usize = 16;
/// The longest answer, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Answers one type of message by calling a webhook.
pub struct WebhookMessages {
    kind: Box<str>,
    webhook: Webhook,
    outgoing: Outgoing,
    /// One permit for each call that may begin.
    calls: Arc<Semaphore>,
    metrics: Arc<Metrics>,
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

/// What answers a message.
#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    payload: Value,
}

/// What refuses it.
#[derive(Deserialize)]
struct Refusal {
    error: Cause,
}

#[derive(Deserialize)]
struct Cause {
    /// One of the protocol's; `invalid_field` if there is none.
    code: Option<ErrorCode>,
    message: String,
}

/// Why there is no answer; the program's fault, not the client's.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the answer is {0}")]
    Status(StatusCode),
    #[error("the answer is not as it should be: {0}")]
    Answer(serde_json::Error),
    #[error(transparent)]
    Outgoing(#[from] OutgoingError),
}

impl WebhookMessages {
    /// Answers messages of type `kind`, for [`Gateway::handle`](crate::Gateway::handle).
    ///
    /// # Errors
    /// [`WebhookError::Roots`] if the machine trusts nobody.
    pub fn start(webhook: Webhook, kind: &str, hub: &Hub) -> Result<Self, WebhookError> {
        let calls = Arc::new(Semaphore::new(MAX_CALLS as usize));
        let tasks = Tasks { shutdown: hub.shutdown().clone(), end: Shutdown::new() };
        let outgoing = webhook.outgoing(tasks.clone(), MAX_KEPT)?;
        let (under_way, limit) = (Arc::clone(&calls), webhook.timeout);
        hub.shutdown().spawn(async move {
            tasks.shutdown.begun().await;
            // Calls that have begun may end; no longer than they may take, none is left.
            let _ = timeout(limit, under_way.acquire_many(MAX_CALLS)).await;
            tasks.end.begin();
        });
        let metrics = Arc::clone(hub.metrics());
        Ok(Self { kind: kind.into(), webhook, outgoing, calls, metrics })
    }

    async fn ask(
        &self,
        connection: &Connection,
        payload: Option<&RawValue>,
    ) -> Result<Option<Reply>, ErrorBody> {
        let Ok(_permit) = self.calls.try_acquire() else {
            self.metrics.webhook("overloaded");
            return Err(ErrorCode::Overloaded.into());
        };
        let id = new_id();
        let body = self.body(&id, connection, payload);
        let call = timeout(self.webhook.timeout, self.call(&id, body));
        let (url, kind, user) = (&self.webhook.url, &self.kind, connection.user());
        let connection = connection.id();
        match call.await {
            Ok(Ok(Ok(reply))) => {
                self.metrics.webhook("answered");
                Ok(reply)
            }
            Ok(Ok(Err(refusal))) => {
                self.metrics.webhook("refused");
                debug!(%url, kind, %user, %connection, error = %refusal, "a webhook refused a message");
                Err(refusal)
            }
            Ok(Err(failure)) => {
                self.metrics.webhook("failed");
                warn!(%url, kind, %user, %connection, error = %failure, "a webhook failed");
                Err(ErrorCode::Internal.into())
            }
            Err(_) => {
                self.metrics.webhook("timed_out");
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

    async fn call(
        &self,
        id: &str,
        body: Bytes,
    ) -> Result<Result<Option<Reply>, ErrorBody>, Failure> {
        let response = self.outgoing.send(self.webhook.request(id, body)).await?;
        let status = response.status();
        let body = outgoing::read(response.into_body(), MAX_ANSWER_BYTES).await?;
        match status {
            StatusCode::NO_CONTENT => Ok(Ok(None)),
            StatusCode::OK => {
                let Answer { kind, payload } =
                    serde_json::from_slice(&body).map_err(Failure::Answer)?;
                Ok(Ok(Some(Reply { kind, payload })))
            }
            // A target that is not the program answers otherwise: then the client is not to blame.
            _ if status.is_client_error() => match serde_json::from_slice(&body) {
                Ok(Refusal { error: Cause { code, message } }) => {
                    Ok(Err(ErrorBody::new(code.unwrap_or(ErrorCode::InvalidField), message)))
                }
                Err(_) => Err(Failure::Status(status)),
            },
            _ => Err(Failure::Status(status)),
        }
    }
}

impl MessageHandler for WebhookMessages {
    fn handle<'a>(
        &'a self,
        connection: &'a Connection,
        payload: Option<&'a RawValue>,
    ) -> BoxFuture<'a, Result<Option<Reply>, ErrorBody>> {
        Box::pin(self.ask(connection, payload))
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
