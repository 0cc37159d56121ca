//! Acknowledgements of parsed output, on their way to the shard.

use std::mem;

use rejoin_protocol::{ErrorCode, StreamNumber};

use crate::socket::client::{Client, Flow};

impl Client {
    /// Keeps an acknowledgement for the shard. Replaces an earlier one for the same stream.
    pub(super) fn record_parsed(&mut self, stream: StreamNumber, bytes: u64) -> Flow {
        if !self.attachments.iter().any(|attachment| attachment.stream() == stream) {
            return self.send_error(None, ErrorCode::NotAttached.into());
        }

        match self.parsed.iter_mut().find(|(number, _)| *number == stream) {
            Some((_, parsed)) => *parsed = bytes,
            None => self.parsed.push((stream, bytes)),
        }
        Flow::Continue
    }

    /// Takes the acknowledged bytes of attachments, by stream.
    pub(crate) fn take_parsed(&mut self) -> Vec<(StreamNumber, u64)> {
        mem::take(&mut self.parsed)
    }
}
