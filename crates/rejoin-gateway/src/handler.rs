//! Handlers for message types that are not built in (B2).

use rejoin_core::{BoxFuture, Connection};
use rejoin_protocol::message::ErrorBody;
use serde_json::{Value, value::RawValue};

/// What a handler answers.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The answer's type.
    pub kind: String,
    /// The answer's payload.
    pub payload: Value,
}

/// Answers one type of message for an embedding program.
pub trait MessageHandler: Send + Sync + 'static {
    /// Handles a message of an authenticated connection, whose next message waits for it.
    ///
    /// `Ok(None)` answers nothing. An error is sent with its code; the connection lives on.
    fn handle<'a>(
        &'a self,
        connection: &'a Connection,
        payload: Option<&'a RawValue>,
    ) -> BoxFuture<'a, Result<Option<Reply>, ErrorBody>>;
}
