//! Clients of the terminal that come back after each crash: viewers, and one that types.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rejoin_protocol::StreamNumber;
use rejoin_protocol::binary::{BinaryHeader, BinaryKind};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::output::{LAST_KEY, Output, key};
use crate::clock;
use crate::connection::Connection;
use crate::endpoint::Endpoint;
use crate::frame;

/// The time between two attempts to connect.
const RETRY: Duration = Duration::from_millis(5);
/// The time without a server after which a client gives up.
const MAX_ABSENCE: Duration = Duration::from_secs(30);
/// The keys of one burst. All but the last are sent without waiting for the acknowledgement.
const BURST: u64 = 8;
/// The time between two bursts of keys.
const KEY_PAUSE: Duration = Duration::from_millis(20);

/// The facts that all clients of a terminal share.
pub(super) struct Terminal {
    pub(super) endpoint: Endpoint,
    pub(super) session: String,
    pub(super) output: Output,
    /// The number of starts of the server, and the time of the last one.
    pub(super) starts: AtomicU64,
    pub(super) started: AtomicU64,
    /// Set to 1 when the last key may be typed.
    pub(super) is_ending: AtomicU64,
}

/// The observations of one viewer.
#[derive(Default)]
pub(super) struct Seen {
    /// The offset of the next output.
    pub(super) next: u64,
    epoch: Option<String>,
    pub(super) bytes: u64,
    pub(super) snapshots: u64,
    pub(super) skipped: u64,
    pub(super) resumed: u64,
    pub(super) exit: Option<Value>,
    /// The nanoseconds from each start of the server to the attach.
    pub(super) returns: Vec<u64>,
    /// The number of the start at the last attach.
    start: u64,
}

/// The end of a connection.
enum Outcome {
    /// The server is gone: come back.
    Lost,
    Done,
}

impl Terminal {
    /// Connects, however long the server takes. `None` if it stays away.
    fn connect(&self) -> anyhow::Result<Connection> {
        let due = clock::after(MAX_ABSENCE);
        loop {
            match Connection::open(&self.endpoint) {
                Ok(connection) => return Ok(connection),
                Err(error) if clock::now() > due => return Err(error),
                Err(_) => clock::pause(RETRY),
            }
        }
    }

    /// Follows the terminal until its program has ended.
    ///
    /// # Errors
    /// A byte is missing, repeated or different, or a promise of the protocol is broken.
    pub(super) fn view(&self) -> anyhow::Result<Seen> {
        let mut seen = Seen::default();
        loop {
            let mut connection = self.connect()?;
            if matches!(self.follow(&mut connection, &mut seen)?, Outcome::Done) {
                return Ok(seen);
            }
        }
    }

    fn follow(&self, connection: &mut Connection, seen: &mut Seen) -> anyhow::Result<Outcome> {
        let position = seen.epoch.as_ref().map(|epoch| format!("{epoch}.{}", seen.next));
        let attach = json!({"session": self.session, "role": "viewer", "position": position});
        let Some(attached) = request(connection, "attach", &attach)? else {
            return Ok(Outcome::Lost);
        };
        self.check_attached(&attached, seen)?;

        // The rest of the output follows an exit in `attached`.
        let mut has_ended = false;
        loop {
            if let Some(exit) = &seen.exit
                && (has_ended || attached["exit"].is_null())
            {
                ensure!(exit["code"] == super::output::EXIT_CODE, "the program ended with {exit}");
                return Ok(Outcome::Done);
            }

            let Ok(frame) = connection.next_frame() else { return Ok(Outcome::Lost) };
            match frame.opcode {
                frame::BINARY => self.take(frame.payload(), seen)?,
                frame::TEXT => {
                    let message = frame.message()?;
                    ensure!(message["type"] != "error", "the server reports {message}");
                    if !message["payload"]["exit"].is_null() {
                        seen.exit = Some(message["payload"]["exit"].clone());
                        has_ended = true;
                    }
                }
                _ => return Ok(Outcome::Lost),
            }
        }
    }

    fn check_attached(&self, attached: &Value, seen: &mut Seen) -> anyhow::Result<()> {
        let now = clock::now();
        let start = self.starts.load(Ordering::Acquire);
        if seen.start != start {
            // A connection may be served before the start was noticed.
            seen.returns.push(now.saturating_sub(self.started.load(Ordering::Acquire)));
            seen.start = start;
        }

        let position = attached["position"].as_str().context("`attached` has no position")?;
        let (epoch, offset) = position.rsplit_once('.').context("a position has an offset")?;
        let known = seen.epoch.get_or_insert_with(|| epoch.to_owned());
        ensure!(known == epoch, "the epoch {known} became {epoch}");
        match attached["verdict"].as_str() {
            Some("resumed") => {
                ensure!(offset == seen.next.to_string(), "resumed at {offset}, not {}", seen.next);
                seen.resumed += 1;
            }
            Some("fresh" | "snapshot") => {}
            verdict => bail!("the verdict {verdict:?}"),
        }
        Ok(())
    }

    fn take(&self, payload: &[u8], seen: &mut Seen) -> anyhow::Result<()> {
        let (head, data) = BinaryHeader::read(payload)?;
        let next = seen.next;
        match head.kind {
            BinaryKind::Output => {
                ensure!(head.offset == next, "output at {}, expected at {next}", head.offset);
                ensure!(self.output.has(next, data), "other output at {next}");
                seen.next += data.len() as u64;
                seen.bytes += data.len() as u64;
            }
            BinaryKind::Snapshot => {
                ensure!(head.offset >= next, "a snapshot of {}, after {next}", head.offset);
                seen.skipped += head.offset - next;
                seen.next = head.offset;
                seen.snapshots += 1;
            }
            kind => bail!("unexpected binary message: {kind:?}"),
        }
        Ok(())
    }

    /// Types keys until the last one. Returns the number of keys before it.
    ///
    /// # Errors
    /// The server refuses a key.
    pub(super) fn type_keys(&self) -> anyhow::Result<u64> {
        let mut typed = 0;
        loop {
            let mut connection = self.connect()?;
            if matches!(self.type_into(&mut connection, &mut typed)?, Outcome::Done) {
                return Ok(typed);
            }
        }
    }

    fn type_into(&self, connection: &mut Connection, typed: &mut u64) -> anyhow::Result<Outcome> {
        let attach = json!({"session": self.session, "writer": "typist"});
        let Some(attached) = request(connection, "attach", &attach)? else {
            return Ok(Outcome::Lost);
        };
        let received = attached["input_seq"].as_u64().context("`attached` has no input_seq")?;
        // The last key may have been received, without its acknowledgement.
        if received > *typed && self.is_ending.load(Ordering::Acquire) == 2 {
            return Ok(Outcome::Done);
        }
        ensure!(received <= *typed + BURST, "{received} keys were received, {typed} were typed");
        let (kind, stream) = (BinaryKind::Input, StreamNumber::deserialize(&attached["stream"])?);
        let mut next = received + 1;

        loop {
            if self.is_ending.load(Ordering::Acquire) > 0 {
                *typed = next - 1;
                self.is_ending.store(2, Ordering::Release);
                let last = json!({"session": self.session, "data": LAST_KEY, "seq": next});
                let is_done = request(connection, "input", &last)?.is_some();
                return Ok(if is_done { Outcome::Done } else { Outcome::Lost });
            }

            *typed = next - 1;
            for seq in next..next + BURST - 1 {
                let mut message = BinaryHeader { kind, stream, offset: seq }.to_bytes();
                message.extend_from_slice(key(seq).as_bytes());
                if connection.send(frame::BINARY, &message).is_err() {
                    return Ok(Outcome::Lost);
                }
            }
            next += BURST;
            let last = json!({"session": self.session, "data": key(next - 1), "seq": next - 1});
            if request(connection, "input", &last)?.is_none() {
                return Ok(Outcome::Lost);
            }
            *typed = next - 1;
            clock::pause(KEY_PAUSE);
        }
    }
}

/// Sends a request. `None` if the server ends before it handles the request.
///
/// # Errors
/// The reply is another error.
fn request(
    connection: &mut Connection,
    kind: &str,
    payload: &Value,
) -> anyhow::Result<Option<Value>> {
    match connection.request(kind, payload) {
        Ok(reply) => Ok(Some(reply)),
        // A server that stops refuses requests until it closes the connection.
        Err(error) if connection.has_ended() || error.to_string().contains("overloaded") => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
