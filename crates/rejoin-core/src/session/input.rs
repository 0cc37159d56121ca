//! Input on its way to a terminal: numbered, bounded, acknowledged once written.

use std::collections::VecDeque;

use bytes::Bytes;
use rejoin_protocol::{
    ErrorCode, MessageId, StreamNumber, UserId, WriterId,
    binary::{BinaryHeader, BinaryKind},
    message::{Empty, ErrorBody, ServerMessage},
};
use tokio::sync::{mpsc, oneshot};

use crate::{access::Author, connection::Connection, outside::Control};

/// Bytes that may wait for a program that does not read.
const MAX_WAITING_BYTES: usize = 1024 * 1024;
/// Inputs that may wait for a program that does not read.
const MAX_WAITING: usize = 4096;
/// Writers whose last number is remembered after they left; the oldest is forgotten first.
const MAX_WRITERS: usize = 256;

/// Whom to tell when input is written.
#[derive(Debug)]
pub struct Receipt {
    form: Form,
}

/// Input that is about to be passed on.
#[derive(Debug)]
pub(super) struct Typed {
    pub(super) bytes: Bytes,
    pub(super) author: Author,
    pub(super) receipt: Receipt,
}

#[derive(Debug)]
enum Form {
    Text { connection: Connection, reply_to: Option<MessageId> },
    Binary { connection: Connection, stream: StreamNumber, seq: u64 },
    Told(oneshot::Sender<Result<(), ErrorBody>>),
}

impl Receipt {
    /// For input that came as a text message.
    #[must_use]
    pub fn text(connection: Connection, reply_to: Option<MessageId>) -> Self {
        Self { form: Form::Text { connection, reply_to } }
    }

    /// For input that came as a binary message.
    #[must_use]
    pub(super) fn binary(connection: Connection, stream: StreamNumber, seq: u64) -> Self {
        Self { form: Form::Binary { connection, stream, seq } }
    }

    /// For input that came in another way: whoever waits is told.
    #[must_use]
    pub fn told() -> (Self, oneshot::Receiver<Result<(), ErrorBody>>) {
        let (told_tx, told) = oneshot::channel();
        (Self { form: Form::Told(told_tx) }, told)
    }

    fn settle(self, result: Result<(), ErrorBody>) {
        match (result, self.form) {
            (Ok(()), Form::Text { connection, reply_to }) => {
                connection.send(reply_to.as_ref(), &ServerMessage::Ack(Empty {}));
            }
            // Input without a number is typed without an answer.
            (Ok(()), Form::Binary { seq: 0, .. }) => {}
            (Ok(()), Form::Binary { connection, stream, seq }) => {
                let head = BinaryHeader { kind: BinaryKind::InputAck, stream, offset: seq };
                connection.send_binary(&[&head.to_bytes()]);
            }
            (Err(error), Form::Text { connection, reply_to }) => {
                connection.send_error(reply_to.as_ref(), error);
            }
            (Err(error), Form::Binary { connection, .. }) => connection.send_error(None, error),
            // Whoever asked may have gone.
            (result, Form::Told(told_tx)) => drop(told_tx.send(result)),
        }
    }
}

/// Who numbers input: a tab across its reconnects, or one stay of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Writer {
    Named { user: UserId, writer: WriterId },
    Viewer(u64),
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    bytes: usize,
    /// `None` for an answer to the program itself.
    receipt: Option<Receipt>,
}

/// Input between a session's viewers and its terminal.
#[derive(Debug)]
pub(super) struct InputQueue {
    controls: mpsc::Sender<Control>,
    /// The number of the last input that went to the terminal.
    last_number: u64,
    /// The number of the last input that was written.
    settled: u64,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Each attached viewer's writer.
    viewers: Vec<(u64, Writer)>,
    /// The last number that was taken from each writer, the most recent writer at the end.
    writers: Vec<(Writer, u64)>,
}

impl InputQueue {
    pub(super) fn new(controls: mpsc::Sender<Control>) -> Self {
        Self {
            controls,
            last_number: 0,
            settled: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            viewers: Vec::new(),
            writers: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, viewer: u64, user: &UserId, writer: Option<WriterId>) {
        let writer = match writer {
            Some(writer) => Writer::Named { user: user.clone(), writer },
            None => Writer::Viewer(viewer),
        };
        self.viewers.push((viewer, writer));
    }

    pub(super) fn remove(&mut self, viewer: u64) {
        self.viewers.retain(|(number, _)| *number != viewer);
        self.writers.retain(|(writer, _)| *writer != Writer::Viewer(viewer));
    }

    /// The last number that was taken from a viewer's writer; 0 if none.
    pub(super) fn last_seq(&self, viewer: u64) -> u64 {
        let writer = self.viewers.iter().find(|(number, _)| *number == viewer);
        writer.map_or(0, |(_, writer)| self.last_seq_of(writer))
    }

    /// Passes input on; a number that was taken before is acknowledged and not typed again.
    pub(super) fn push(&mut self, viewer: u64, seq: u64, typed: Typed) -> Result<(), ErrorBody> {
        let numbered = seq != 0;
        let writer = self.viewers.iter().find(|(number, _)| *number == viewer);
        let writer = writer.map(|(_, writer)| writer.clone()).ok_or(ErrorCode::NotAttached)?;
        let last = self.last_seq_of(&writer);
        if numbered && seq <= last {
            if self.waiting.len() >= MAX_WAITING {
                return Err(ErrorCode::InputFull.into());
            }
            self.wait(0, Some(typed.receipt));
            // It may have been written long ago.
            self.settle(self.settled);
            return Ok(());
        }
        if numbered && seq != last + 1 {
            let sentence = format!("the next `seq` is {}, not {seq}", last + 1);
            return Err(ErrorBody::new(ErrorCode::InputOutOfOrder, sentence));
        }
        self.push_unnumbered(typed)?;
        if numbered {
            self.remember(writer, seq);
        }
        Ok(())
    }

    /// Passes input on that no viewer typed.
    pub(super) fn push_unnumbered(&mut self, typed: Typed) -> Result<(), ErrorBody> {
        self.send(typed.bytes, typed.author, Some(typed.receipt))
    }

    /// Tells the terminal something that is not input.
    pub(super) fn control(&mut self, control: Control) -> Result<(), ErrorBody> {
        self.controls.try_send(control).map_err(refused)
    }

    /// Types an answer to what the program asked; a program that does not read gets none.
    pub(super) fn answer(&mut self, bytes: Bytes) {
        let _ = self.send(bytes, Author::Server, None);
    }

    /// Settles what is written, up to and with `number`.
    pub(super) fn settle(&mut self, number: u64) {
        self.settled = number;
        while self.waiting.front().is_some_and(|waiting| waiting.number <= number) {
            self.settle_first(Ok(()));
        }
    }

    /// Settles what will never be written.
    pub(super) fn end(&mut self) {
        while !self.waiting.is_empty() {
            self.settle_first(Err(ErrorCode::SessionEnded.into()));
        }
    }

    fn settle_first(&mut self, result: Result<(), ErrorBody>) {
        if let Some(waiting) = self.waiting.pop_front() {
            self.waiting_bytes -= waiting.bytes;
            if let Some(receipt) = waiting.receipt {
                receipt.settle(result);
            }
        }
    }

    fn send(
        &mut self,
        bytes: Bytes,
        author: Author,
        receipt: Option<Receipt>,
    ) -> Result<(), ErrorBody> {
        let length = bytes.len();
        if self.waiting_bytes + length > MAX_WAITING_BYTES || self.waiting.len() >= MAX_WAITING {
            return Err(ErrorCode::InputFull.into());
        }
        let number = self.last_number + 1;
        self.control(Control::Input { number, bytes, author })?;
        self.last_number = number;
        self.wait(length, receipt);
        Ok(())
    }

    fn wait(&mut self, bytes: usize, receipt: Option<Receipt>) {
        self.waiting_bytes += bytes;
        self.waiting.push_back(Waiting { number: self.last_number, bytes, receipt });
    }

    fn last_seq_of(&self, writer: &Writer) -> u64 {
        let entry = self.writers.iter().rev().find(|(known, _)| known == writer);
        entry.map_or(0, |(_, seq)| *seq)
    }

    fn remember(&mut self, writer: Writer, seq: u64) {
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
