//! The queue of input on its way to the program.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Write},
};

use crate::wire;

/// The maximum number of queued inputs.
const MAX_INPUTS: usize = 256;
/// The maximum number of queued bytes: one message of this server and one of a crashed server.
const MAX_INPUT_BYTES: usize = 2 * wire::MAX_MESSAGE_BYTES;
/// The maximum number of writers whose last number is remembered. The one that typed least recently
/// is forgotten first.
const MAX_WRITERS: usize = 256;

/// The bounded queue of input, and the numbers that ensure that each numbered input is typed once.
#[derive(Debug, Default)]
pub(crate) struct InputQueue {
    waiting: VecDeque<Pending>,
    bytes: usize,
    writers: Vec<(Box<[u8]>, u64)>,
}

#[derive(Debug)]
struct Pending {
    /// The number on the current connection. `None` if the input arrived on an earlier connection.
    number: Option<u64>,
    bytes: Vec<u8>,
    written: usize,
}

/// The error for input that exceeds the bounds of the queue.
#[derive(Debug)]
pub(crate) struct Full;

impl InputQueue {
    /// Queues an input. An input whose key was used before is reported but not typed.
    pub(crate) fn push(&mut self, input: wire::Input) -> Result<(), Full> {
        let wire::Input { number, key, bytes } = input;
        let is_repeated = key.as_ref().is_some_and(|(writer, seq)| *seq <= self.last(writer));
        // Queued although it is empty, so that it is reported after the inputs before it.
        let bytes = if is_repeated { Vec::new() } else { bytes };
        if self.waiting.len() >= MAX_INPUTS || self.bytes + bytes.len() > MAX_INPUT_BYTES {
            return Err(Full);
        }

        if let Some((writer, seq)) = key.filter(|_| !is_repeated) {
            // Moves to the end of the list, whose first writer typed least recently.
            self.writers.retain(|(known, _)| *known != writer);
            self.writers.push((writer, seq));
            if self.writers.len() > MAX_WRITERS {
                self.writers.remove(0);
            }
        }
        self.bytes += bytes.len();
        self.waiting.push_back(Pending { number: Some(number), bytes, written: 0 });
        Ok(())
    }

    /// Empties an input of which no byte has been typed. It is still reported in order.
    pub(crate) fn cancel(&mut self, number: u64) {
        let pending = self.waiting.iter_mut().find(|pending| pending.number == Some(number));
        if let Some(pending) = pending.filter(|pending| pending.written == 0) {
            self.bytes -= pending.bytes.len();
            pending.bytes.clear();
        }
    }

    /// Forgets the numbers of a connection that has ended. Its input is still typed.
    pub(crate) fn disconnect(&mut self) {
        for pending in &mut self.waiting {
            pending.number = None;
        }
    }

    /// Drops all input, because the program has ended. Returns the numbers of the dropped inputs.
    pub(crate) fn clear(&mut self) -> Vec<u64> {
        self.bytes = 0;
        self.waiting.drain(..).filter_map(|pending| pending.number).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns the last number of each remembered writer.
    pub(crate) fn writers(&self) -> &[(Box<[u8]>, u64)] {
        &self.writers
    }

    /// Writes as much as the terminal takes. Returns the numbers of the completely written inputs.
    pub(crate) fn write_to(&mut self, mut terminal: impl Write) -> io::Result<Vec<u64>> {
        let mut complete = Vec::new();
        while let Some(pending) = self.waiting.front_mut() {
            while pending.written < pending.bytes.len() {
                match terminal.write(&pending.bytes[pending.written..]) {
                    Ok(0) => return Ok(complete),
                    Ok(count) => pending.written += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(complete),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            self.bytes -= pending.bytes.len();
            complete.extend(pending.number);
            self.waiting.pop_front();
        }
        Ok(complete)
    }

    fn last(&self, writer: &[u8]) -> u64 {
        let known = self.writers.iter().find(|(known, _)| **known == *writer);
        known.map_or(0, |(_, seq)| *seq)
    }
}
