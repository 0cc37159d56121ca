//! Handlers for message types that are not built in.

use std::{collections::HashMap, fmt, sync::Arc};

use rejoin_core::{BoxFuture, Connection};
use rejoin_protocol::message::ErrorBody;
use rejoin_webhook::WebhookMessages;
use serde_json::{Value, value::RawValue};

/// A handler's reply.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The message type of the reply.
    pub kind: String,
    /// The payload of the reply.
    pub payload: Value,
}

/// A handler of one message type, for an embedding program.
pub trait MessageHandler: Send + Sync + 'static {
    /// Handles a message of an authenticated connection.
    ///
    /// The connection's next message is not handled before this future completes. `Ok(None)`
    /// sends no reply. An error is sent to the client, and the connection stays open. The future
    /// is dropped if the connection closes.
    fn handle<'a>(
        &'a self,
        connection: &'a Connection,
        payload: Option<&'a RawValue>,
    ) -> BoxFuture<'a, Result<Option<Reply>, ErrorBody>>;
}

/// The handlers of a gateway, by message type.
#[derive(Default)]
pub(crate) struct Handlers(pub(crate) HashMap<String, Arc<dyn MessageHandler>>);

impl MessageHandler for WebhookMessages {
    fn handle<'a>(
        &'a self,
        connection: &'a Connection,
        payload: Option<&'a RawValue>,
    ) -> BoxFuture<'a, Result<Option<Reply>, ErrorBody>> {
        Box::pin(async move {
            let answer = self.call(connection, payload).await?;
            Ok(answer.map(|answer| Reply { kind: answer.kind, payload: answer.payload }))
        })
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
