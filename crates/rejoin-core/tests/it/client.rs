//! A client without a socket: does the work of the shard as well.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::FutureExt;
use rejoin_core::{Batch, Connection, Follower, LagPolicy, OutboxItem, Progress, Reader, Stream};
use serde_json::Value;

use crate::support::{NoWake, limit};

/// Executes the items of a connection's outbox and reads its streams, on demand.
pub(crate) struct TestClient {
    pub(crate) connection: Connection,
    reads: BTreeMap<u32, (Follower, Reader)>,
}

impl TestClient {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, reads: BTreeMap::new() }
    }

    /// Returns the messages since the last call, in order.
    pub(crate) fn receive(&mut self) -> Vec<Value> {
        let mut received = Vec::new();
        for item in self.connection.outbox().take() {
            match item {
                OutboxItem::Message(bytes) => received.push(json(&bytes)),
                OutboxItem::StartReading { stream, preamble, reader, .. } => {
                    received.extend(preamble.iter().map(|frame| json(frame.plain())));
                    let follower = stream.follow(Arc::new(NoWake), reader.next);
                    self.reads.insert(stream.number().0, (follower, reader));
                }
                OutboxItem::StopReading(number) => drop(self.reads.remove(&number.0)),
                other => panic!("{other:?}"),
            }
        }

        for (follower, reader) in self.reads.values_mut() {
            read_all(follower, reader, &mut received);
        }

        received
    }

    /// Returns the messages of a topic since the last call, as numbers.
    pub(crate) fn numbers(&mut self, topic: &str) -> Vec<u64> {
        let received = self.receive();
        let received = received.iter().filter(|message| message["payload"]["topic"] == topic);
        received.map(|message| message["payload"]["data"].as_u64().unwrap()).collect()
    }
}

fn read_all(follower: &Follower, reader: &mut Reader, received: &mut Vec<Value>) {
    let mut batch = Batch::default();
    loop {
        match follower.take(reader.next, limit(100), &mut batch) {
            Progress::Frames => {
                received.extend(batch.frames.iter().map(|frame| json(frame.plain())));
                reader.next = batch.end();
            }
            Progress::Behind { oldest, .. } => {
                reader.next = skip(follower.stream(), oldest, received);
            }
            _ => return,
        }
    }
}

fn skip(stream: &Stream, oldest: u64, received: &mut Vec<Value>) -> u64 {
    let LagPolicy::Snapshot(source) = stream.lag_policy() else {
        received.push("gap".into());
        return oldest;
    };

    let snapshot =
        source.snapshot().now_or_never().flatten().expect("a presence group answers at once");
    received.extend(snapshot.messages.iter().map(|frame| json(frame.plain())));
    snapshot.seq
}

fn json(wire: &[u8]) -> Value {
    serde_json::from_slice(&wire[1..]).unwrap()
}
