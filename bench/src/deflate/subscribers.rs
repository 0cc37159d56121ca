//! Subscribers of one server, and a publisher that waits until all have each message.

use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::client_pool::{ClientPool, Frame};
use crate::clock::Watchdog;
use crate::connection::Connection;
use crate::frame;
use crate::report::as_float;
use crate::server::Server;
use crate::topics::Topics;

const POLL: Duration = Duration::from_secs(1);

/// The encoding that the subscribers negotiate, and that all deliveries must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Plain,
    Compressed,
}

/// A server with its subscribers and its publisher.
pub(super) struct Subscribers {
    name: &'static str,
    server: Server,
    encoding: Encoding,
    pool: ClientPool,
    publisher: Connection,
}

/// The deliveries of one message.
struct Deliveries {
    encoding: Encoding,
    /// The first delivered frame. All others must be equal.
    frame: Option<Frame>,
    is_delivered: Vec<bool>,
    missing: usize,
}

impl Subscribers {
    /// Connects the subscribers and the publisher.
    pub(super) fn connect(
        name: &'static str,
        server: Server,
        encoding: Encoding,
        count: usize,
    ) -> anyhow::Result<Self> {
        let mut endpoint = server.subscriber(0);
        if encoding == Encoding::Compressed {
            endpoint = endpoint.with_deflate();
        }

        let mut pool = ClientPool::new()?;
        pool.connect_all(&vec![endpoint; count])?;
        let publisher = Connection::open(&server.publisher())?;
        Ok(Self { name, server, encoding, pool, publisher })
    }

    /// Returns the name in the table.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Publishes documents one after the other. Returns CPU µs and bytes per delivery.
    pub(super) fn publish_all(&mut self, documents: &[String]) -> anyhow::Result<(f64, f64)> {
        let deliveries = as_float((documents.len() * self.pool.len()) as u64);
        let (cpu, bytes) = (self.server.cpu_time()?, self.pool.received_bytes);
        for document in documents {
            self.publish(document).with_context(|| format!("{} failed", self.name))?;
        }

        let micros = (self.server.cpu_time()? - cpu).as_secs_f64() * 1e6;
        Ok((micros / deliveries, as_float(self.pool.received_bytes - bytes) / deliveries))
    }

    /// Publishes a document, and waits until each subscriber has it once and unchanged.
    fn publish(&mut self, document: &str) -> anyhow::Result<()> {
        if self.server.speaks_rejoin() {
            let payload = format!(r#"{{"topic":"{}","data":{document}}}"#, Topics::name(0));
            // The acknowledgement precedes the deliveries, so this request delays none of them.
            self.publisher.request_json("publish", &payload)?;
        } else {
            self.publisher.send(frame::TEXT, (Topics::tag(0) + document).as_bytes())?;
        }

        let (encoding, missing) = (self.encoding, self.pool.len());
        let mut deliveries =
            Deliveries { encoding, frame: None, is_delivered: vec![false; missing], missing };
        let mut watchdog = Watchdog::new();
        while deliveries.missing > 0 {
            for (number, frame) in self.pool.poll_frames(POLL)? {
                deliveries.add(number, &frame)?;
            }
            watchdog.check(deliveries.missing as u64, "deliveries")?;
        }
        deliveries.check(document)
    }
}

impl Deliveries {
    fn add(&mut self, number: usize, received: &Frame) -> anyhow::Result<()> {
        ensure!(received.opcode == frame::TEXT, "a delivery is not a text message");
        let is_compressed = self.encoding == Encoding::Compressed;
        ensure!(received.is_compressed == is_compressed, "a delivery is not {:?}", self.encoding);
        ensure!(!self.is_delivered[number], "subscriber {number} received a message twice");
        self.is_delivered[number] = true;
        // Comparing raw frames is cheaper than decoding each; one is decoded in `check`.
        let first = self.frame.get_or_insert_with(|| received.clone());
        ensure!(first.bytes == received.bytes, "subscriber {number} received other bytes");
        self.missing -= 1;
        Ok(())
    }

    /// Checks that the delivered frame contains the document.
    fn check(&mut self, document: &str) -> anyhow::Result<()> {
        let frame = self.frame.take().context("no frame")?.inflated()?;
        let text = str::from_utf8(frame.payload())?;
        let (before, _) = text.split_once(document).context("a delivery has other data")?;
        ensure!(before.ends_with("\"data\":"), "the document is not the data");
        Ok(())
    }
}
