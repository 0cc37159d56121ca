//! One blocking connection, for requests whose replies the caller waits for.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rejoin_protocol::binary::BinaryKind;
use serde_json::{Value, json};

use crate::client_pool::{ClientPool, End, Event, Frame};
use crate::clock;
use crate::endpoint::{AUTHENTICATE, Endpoint};
use crate::frame;

/// The time that a server may take for one reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// The columns and rows of a terminal.
pub(crate) type Size = (u16, u16);

/// An open WebSocket: a pool of one client, whose messages the caller waits for.
pub(crate) struct Connection {
    pool: ClientPool,
    /// Received, and not consumed yet.
    frames: VecDeque<Frame>,
    is_open: bool,
    end: Option<End>,
    next_id: u64,
}

impl Connection {
    /// Connects, upgrades, and authenticates if the endpoint has a token.
    pub(crate) fn open(endpoint: &Endpoint) -> anyhow::Result<Self> {
        let (pool, frames) = (ClientPool::new()?, VecDeque::new());
        let mut connection = Self { pool, frames, is_open: false, end: None, next_id: 1 };
        connection.pool.connect(0, endpoint)?;
        while !connection.is_open {
            connection.receive().with_context(|| format!("cannot open {}", endpoint.path))?;
        }

        if endpoint.token.is_some() {
            let result = connection.reply(AUTHENTICATE, AUTHENTICATE)?;
            ensure!(result["authenticated"] == true, "the authentication failed: {result}");
        }
        Ok(connection)
    }

    /// Returns whether the connection has ended. Received frames may be left.
    pub(crate) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Returns the number of bytes received so far.
    pub(crate) fn received_bytes(&self) -> u64 {
        self.pool.received_bytes
    }

    /// Sends one frame that is a whole message.
    pub(crate) fn send(&mut self, opcode: u8, payload: &[u8]) -> anyhow::Result<()> {
        self.pool.client(0).context("the connection has ended")?.send(opcode, payload);
        Ok(())
    }

    /// Sends a request of the protocol and returns the payload of its reply.
    ///
    /// # Errors
    /// The reply is an `error`, or the server closes or does not reply in time.
    pub(crate) fn request(&mut self, kind: &str, payload: &Value) -> anyhow::Result<Value> {
        self.request_json(kind, &payload.to_string())
    }

    /// Creates a terminal. Returns its session.
    pub(crate) fn create_terminal(&mut self, profile: &str, size: Size) -> anyhow::Result<Value> {
        let (cols, rows) = size;
        let create = json!({"kind": "terminal", "profile": profile, "cols": cols, "rows": rows});
        Ok(self.request("create_session", &create)?["session"]["id"].take())
    }

    /// Sends a request whose payload is JSON text, as [`Connection::request`] does.
    pub(crate) fn request_json(&mut self, kind: &str, payload: &str) -> anyhow::Result<Value> {
        let id = self.send_request(kind, payload)?;
        self.reply(kind, &id)
    }

    /// Sends a request without waiting for its reply. Returns its id.
    pub(crate) fn send_request(&mut self, kind: &str, payload: &str) -> anyhow::Result<String> {
        let id = self.next_id.to_string();
        self.next_id += 1;
        let request = format!(r#"{{"id":"{id}","type":"{kind}","payload":{payload}}}"#);
        self.send(frame::TEXT, request.as_bytes())?;
        Ok(id)
    }

    fn reply(&mut self, kind: &str, id: &str) -> anyhow::Result<Value> {
        let mut reply = self.wait_for(|frame| {
            let reply = frame.message().ok()?;
            // Skips messages of topics and replies to other requests.
            (reply["reply_to"] == id).then_some(reply)
        })?;
        ensure!(reply["type"] != "error", "`{kind}` failed: {}", reply["payload"]);
        Ok(reply["payload"].take())
    }

    /// Waits for the next frame other than a ping.
    pub(crate) fn next_frame(&mut self) -> anyhow::Result<Frame> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Ok(frame);
            }

            self.receive()?;
        }
    }

    /// Waits for the first frame from which `select` returns a value.
    pub(crate) fn wait_for<T>(
        &mut self,
        mut select: impl FnMut(&Frame) -> Option<T>,
    ) -> anyhow::Result<T> {
        loop {
            if let Some(value) = select(&self.next_frame()?) {
                return Ok(value);
            }
        }
    }

    /// Waits for a binary message that contains these bytes.
    pub(crate) fn wait_for_output(&mut self, text: &[u8]) -> anyhow::Result<()> {
        self.wait_for(|frame| {
            let mut parts = frame.payload().windows(text.len());
            (frame.opcode == frame::BINARY && parts.any(|part| part == text)).then_some(())
        })
    }

    /// Waits for a snapshot, and returns the bytes of its message.
    pub(crate) fn wait_for_snapshot(&mut self) -> anyhow::Result<usize> {
        self.wait_for(|frame| {
            let is_snapshot = frame.payload().first() == Some(&(BinaryKind::Snapshot as u8));
            (frame.opcode == frame::BINARY && is_snapshot).then_some(frame.payload().len())
        })
    }

    /// Waits for events. The frames before an end are consumed before it is an error.
    fn receive(&mut self) -> anyhow::Result<()> {
        if let Some(end) = self.end {
            bail!("the connection ended: {end}");
        }

        // A poll without any event takes the whole timeout.
        let due = clock::after(REPLY_TIMEOUT);
        let events = self.pool.poll(REPLY_TIMEOUT)?;
        ensure!(clock::now() < due, "the server does not reply");
        for (_, event) in events {
            match event {
                Event::Opened => self.is_open = true,
                Event::Frame(frame) => self.frames.push_back(frame.inflated()?),
                Event::Ended(end) => self.end = Some(end),
            }
        }
        Ok(())
    }
}
