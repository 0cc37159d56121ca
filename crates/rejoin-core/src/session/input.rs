//! The input of a terminal: numbered, bounded, and acknowledged once it is written.

use std::collections::VecDeque;

use bytes::Bytes;
use rejoin_protocol::{
    ErrorCode, MessageId, StreamNumber,
    binary::{BinaryHeader, BinaryKind},
    message::{Empty, ErrorBody, ServerMessage},
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    backend::{Control, InputKey},
    connection::{Author, Connection},
    session::viewers::WriterKey,
};

/// The maximum size of input that waits for a program that does not read.
const MAX_PENDING_BYTES: usize = 1024 * 1024;
/// The maximum number of inputs that wait for a program that does not read.
const MAX_PENDING: usize = 4096;
/// The number of writers whose last number is retained. The one idle for longest is dropped.
const MAX_WRITERS: usize = 256;

/// The writer of the answers to the program's queries. Its numbers are offsets of output, so a
/// query that is replayed by the next process is answered once.
const ANSWERS: &str = "\nanswers";

/// The receiver of an input's acknowledgement.
#[derive(Debug)]
pub struct Receipt {
    route: Route,
}

/// Input with its author and the receiver of its acknowledgement.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) bytes: Bytes,
    pub(super) author: Author,
    pub(super) receipt: Receipt,
}

#[derive(Debug)]
enum Route {
    Text { connection: Connection, reply_to: Option<MessageId> },
    Binary { connection: Connection, stream: StreamNumber, seq: u64 },
    Channel(oneshot::Sender<Result<(), ErrorBody>>),
}

impl Receipt {
    /// Creates a receipt for input of a text message. The answer is a text message.
    #[must_use]
    pub fn text(connection: Connection, reply_to: Option<MessageId>) -> Self {
        Self { route: Route::Text { connection, reply_to } }
    }

    /// Creates a receipt for input of a binary message. The answer is a binary message.
    #[must_use]
    pub(super) fn binary(connection: Connection, stream: StreamNumber, seq: u64) -> Self {
        Self { route: Route::Binary { connection, stream, seq } }
    }

    /// Creates a receipt with a channel for its result.
    #[must_use]
    pub fn channel() -> (Self, oneshot::Receiver<Result<(), ErrorBody>>) {
        let (result_tx, result) = oneshot::channel();
        (Self { route: Route::Channel(result_tx) }, result)
    }

    fn resolve(self, result: Result<(), ErrorBody>) {
        match (result, self.route) {
            (Ok(()), Route::Text { connection, reply_to }) => {
                connection.send(reply_to.as_ref(), &ServerMessage::Ack(Empty {}));
            }
            // Input without a number has no acknowledgement.
            (Ok(()), Route::Binary { seq: 0, .. }) => {}
            (Ok(()), Route::Binary { connection, stream, seq }) => {
                let head = BinaryHeader { kind: BinaryKind::InputAck, stream, offset: seq };
                connection.send_binary(&[&head.to_bytes()]);
            }
            (Err(error), Route::Text { connection, reply_to }) => {
                connection.send_error(reply_to.as_ref(), error);
            }
            (Err(error), Route::Binary { connection, .. }) => connection.send_error(None, error),
            // The receiver may have been dropped.
            (result, Route::Channel(result_tx)) => drop(result_tx.send(result)),
        }
    }
}

/// Input that was sent to the terminal and is not acknowledged.
#[derive(Debug)]
struct Pending {
    number: u64,
    bytes: usize,
    /// `None` for an answer to the program's own query.
    receipt: Option<Receipt>,
}

/// The input between a session's viewers and its terminal.
#[derive(Debug)]
pub(super) struct InputQueue {
    controls: mpsc::Sender<Control>,
    /// The number of the last input that was sent to the terminal.
    last_number: u64,
    /// The number of the last input that was written.
    written: u64,
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    /// The last number accepted from each writer, the most recent writer at the end.
    writers: Vec<(WriterKey, u64)>,
}

impl InputQueue {
    /// Creates a queue that continues the numbers of writers.
    pub(super) fn new(controls: mpsc::Sender<Control>, writers: &[InputKey]) -> Self {
        let known = writers
            .iter()
            .filter_map(|InputKey { writer, seq }| Some((WriterKey::from_name(writer)?, *seq)));
        Self {
            controls,
            last_number: 0,
            written: 0,
            pending: VecDeque::new(),
            pending_bytes: 0,
            writers: known.take(MAX_WRITERS).collect(),
        }
    }

    /// Drops the numbers of an attachment that ended. Those of named writers are retained.
    pub(super) fn remove_viewer(&mut self, viewer: u64) {
        self.writers.retain(|(writer, _)| *writer != WriterKey::Viewer(viewer));
    }

    /// Returns the last number accepted from a writer; 0 if none was.
    pub(super) fn last_seq(&self, writer: &WriterKey) -> u64 {
        let entry = self.writers.iter().rev().find(|(known, _)| known == writer);
        entry.map_or(0, |(_, seq)| *seq)
    }

    /// Sends input to the terminal. A number that was accepted before is acknowledged only.
    ///
    /// # Errors
    /// `input_full`, `input_out_of_order` or `session_ended`; nothing was typed.
    pub(super) fn push(
        &mut self,
        writer: &WriterKey,
        seq: u64,
        input: Input,
    ) -> Result<(), ErrorBody> {
        let is_numbered = seq != 0;
        let last = self.last_seq(writer);

        // A repeat after a reconnect: the first one was accepted.
        if is_numbered && seq <= last {
            if self.pending.len() >= MAX_PENDING {
                return Err(ErrorCode::InputFull.into());
            }

            self.push_pending(0, Some(input.receipt));
            // The original may be written already, and then no event would acknowledge this one.
            self.acknowledge(self.written);
            return Ok(());
        }

        if is_numbered && seq != last + 1 {
            let sentence = format!("the next `seq` is {}, not {seq}", last + 1);
            return Err(ErrorBody::new(ErrorCode::InputOutOfOrder, sentence));
        }

        let name = writer.name().filter(|_| is_numbered);
        let key = name.map(|writer| InputKey { writer, seq });
        self.send(input.bytes, input.author, key, Some(input.receipt))?;
        if is_numbered {
            self.record(writer.clone(), seq);
        }

        Ok(())
    }

    /// Sends input without a number to the terminal.
    pub(super) fn push_unnumbered(&mut self, input: Input) -> Result<(), ErrorBody> {
        self.send(input.bytes, input.author, None, Some(input.receipt))
    }

    /// Sends a control that is not input to the terminal.
    pub(super) fn control(&mut self, control: Control) -> Result<(), ErrorBody> {
        self.controls.try_send(control).map_err(refused)
    }

    /// Types the answer to a query before `offset`. Drops it if the program does not read.
    pub(super) fn answer(&mut self, bytes: Bytes, offset: u64) {
        let key = InputKey { writer: ANSWERS.to_owned(), seq: offset };
        let _ = self.send(bytes, Author::Server, Some(key), None);
    }

    /// Returns `true` if an answer waits for the program.
    pub(super) fn has_unwritten_answers(&self) -> bool {
        self.pending.iter().any(|pending| pending.receipt.is_none())
    }

    /// Acknowledges all input up to and including `number`.
    pub(super) fn acknowledge(&mut self, number: u64) {
        self.written = number;
        while self.pending.front().is_some_and(|pending| pending.number <= number) {
            self.resolve_first(Ok(()));
        }
    }

    /// Fails all pending input: the terminal has ended.
    pub(super) fn end(&mut self) {
        while !self.pending.is_empty() {
            self.resolve_first(Err(ErrorCode::SessionEnded.into()));
        }
    }

    fn resolve_first(&mut self, result: Result<(), ErrorBody>) {
        if let Some(pending) = self.pending.pop_front() {
            self.pending_bytes -= pending.bytes;
            if let Some(receipt) = pending.receipt {
                receipt.resolve(result);
            }
        }
    }

    fn send(
        &mut self,
        bytes: Bytes,
        author: Author,
        key: Option<InputKey>,
        receipt: Option<Receipt>,
    ) -> Result<(), ErrorBody> {
        let length = bytes.len();
        if self.pending_bytes + length > MAX_PENDING_BYTES || self.pending.len() >= MAX_PENDING {
            return Err(ErrorCode::InputFull.into());
        }

        let number = self.last_number + 1;

        // A refusal leaves the numbers unchanged, so that the client can retry.
        self.control(Control::Input { number, bytes, key, author })?;
        self.last_number = number;
        self.push_pending(length, receipt);
        Ok(())
    }

    fn push_pending(&mut self, bytes: usize, receipt: Option<Receipt>) {
        self.pending_bytes += bytes;
        self.pending.push_back(Pending { number: self.last_number, bytes, receipt });
    }

    fn record(&mut self, writer: WriterKey, seq: u64) {
        // At the end: the list drops the writer idle for longest.
        self.writers.retain(|(known, _)| *known != writer);
        self.writers.push((writer, seq));
        if self.writers.len() > MAX_WRITERS {
            self.writers.remove(0);
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of map_err")]
fn refused(error: mpsc::error::TrySendError<Control>) -> ErrorBody {
    match error {
        mpsc::error::TrySendError::Full(_) => ErrorCode::InputFull.into(),
        mpsc::error::TrySendError::Closed(_) => ErrorCode::SessionEnded.into(),
    }
}
