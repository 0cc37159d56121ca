//! A terminal as its user sees it: keys in, output out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rejoin_protocol::StreamNumber;
use rejoin_protocol::binary::{BinaryHeader, BinaryKind};

use super::READY;
use crate::connection::Connection;
use crate::frame;
use crate::pty::Terminal;

/// The first byte of ttyd's messages with keys, and with output.
const TTYD_DATA: u8 = b'0';

/// A terminal as its user sees it.
pub(super) enum Line {
    Terminal(Terminal),
    Rejoin { connection: Connection, stream: StreamNumber, readers: Option<Readers> },
    Ttyd(Connection),
}

/// A thread that reads for further viewers.
pub(super) struct Readers {
    pub(super) is_over: Arc<AtomicBool>,
    pub(super) thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Line {
    /// Types keys.
    pub(super) fn send(&mut self, keys: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::Terminal(terminal) => terminal.send(keys),
            Self::Rejoin { connection, stream, .. } => {
                let head = BinaryHeader { kind: BinaryKind::Input, stream: *stream, offset: 0 };
                let mut message = Vec::new();
                head.write(&mut message);
                message.extend_from_slice(keys);
                connection.send(frame::BINARY, &message)
            }
            Self::Ttyd(connection) => {
                connection.send(frame::BINARY, &[&[TTYD_DATA], keys].concat())
            }
        }
    }

    /// Waits for output and passes it on.
    pub(super) fn receive(&mut self, mut take: impl FnMut(&[u8])) -> anyhow::Result<()> {
        match self {
            Self::Terminal(terminal) => take(terminal.read()?),
            Self::Rejoin { connection, .. } => {
                let frame = connection.next_frame()?;
                if frame.opcode == frame::BINARY {
                    let (head, data) = BinaryHeader::read(frame.payload())?;
                    // A viewer that lags gets a snapshot, which contains the end too.
                    if matches!(head.kind, BinaryKind::Output | BinaryKind::Snapshot) {
                        take(data);
                    }
                }
            }
            Self::Ttyd(connection) => {
                let frame = connection.next_frame()?;
                if let Some((&TTYD_DATA, data)) = frame.payload().split_first() {
                    take(data);
                }
            }
        }
        Ok(())
    }

    /// Waits until the program reads keys.
    pub(super) fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let mut seen = Vec::new();
        while !seen.windows(READY.len()).any(|part| part == READY) {
            self.receive(|output| seen.extend_from_slice(output))?;
        }
        Ok(())
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
