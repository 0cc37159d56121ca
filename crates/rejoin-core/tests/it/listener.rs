//! A listener: what a shard and a client do with a connection, without a socket.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::FutureExt;
use rejoin_core::{Batch, Connection, Follower, LagPolicy, OutboxItem, Progress, Reader, Stream};
use serde_json::Value;

use crate::support::{Asleep, limit};

/// Reads whatever its connection is told to read, whenever the test says so.
pub(crate) struct Listener {
    pub(crate) connection: Connection,
    reads: BTreeMap<u32, (Follower, Reader)>,
}

impl Listener {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, reads: BTreeMap::new() }
    }

    /// All that was said since the last time, in the order in which it is sent.
    pub(crate) fn hear(&mut self) -> Vec<Value> {
        let mut heard = Vec::new();
        for item in self.connection.outbox().take() {
            match item {
                OutboxItem::Message(bytes) => heard.push(json(&bytes)),
                OutboxItem::StartReading { stream, preamble, reader } => {
                    heard.extend(preamble.iter().map(|frame| json(frame.plain())));
                    let follower = stream.follow(Arc::new(Asleep), reader.next);
                    self.reads.insert(stream.number().0, (follower, reader));
                }
                OutboxItem::StopReading(number) => drop(self.reads.remove(&number.0)),
                other => panic!("{other:?}"),
            }
        }
        for (follower, reader) in self.reads.values_mut() {
            read_on(follower, reader, &mut heard);
        }
        heard
    }

    /// What was said on a topic, as numbers.
    pub(crate) fn numbers(&mut self, topic: &str) -> Vec<u64> {
        let heard = self.hear();
        let heard = heard.iter().filter(|message| message["payload"]["topic"] == topic);
        heard.map(|message| message["payload"]["data"].as_u64().unwrap()).collect()
    }
}

fn read_on(follower: &Follower, reader: &mut Reader, heard: &mut Vec<Value>) {
    let mut batch = Batch::default();
    loop {
        match follower.take(reader.next, limit(100), &mut batch) {
            Progress::Frames => {
                heard.extend(batch.frames.iter().map(|frame| json(frame.plain())));
                reader.next = batch.end();
            }
            Progress::Behind { oldest, .. } => reader.next = skip(follower.stream(), oldest, heard),
            _ => return,
        }
    }
}

fn skip(stream: &Stream, oldest: u64, heard: &mut Vec<Value>) -> u64 {
    let LagPolicy::Snapshot(source) = stream.lag_policy() else {
        heard.push("gap".into());
        return oldest;
    };
    let snapshot = source.snapshot().now_or_never().flatten().expect("a place answers at once");
    heard.extend(snapshot.messages.iter().map(|frame| json(frame.plain())));
    snapshot.seq
}

fn json(wire: &[u8]) -> Value {
    serde_json::from_slice(&wire[1..]).unwrap()
}
