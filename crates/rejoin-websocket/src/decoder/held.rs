//! The payload bytes that arrived before the rest of their message.

use crate::Error;

/// One buffer for both: the unfinished message, then a control frame's payload that interrupts it.
///
/// It owns no memory while it is empty.
#[derive(Default)]
pub(super) struct Held {
    /// Beyond `message_len`: a control frame's payload, or what was lent and is to be released.
    bytes: Vec<u8>,
    /// The bytes of the unfinished message.
    message_len: usize,
    /// The bytes of the unfinished message that are known to be whole UTF-8 characters.
    checked: usize,
}

impl Held {
    pub(super) fn message_len(&self) -> usize {
        self.message_len
    }

    pub(super) fn has_control(&self) -> bool {
        self.bytes.len() > self.message_len
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn control(&self) -> &[u8] {
        &self.bytes[self.message_len..]
    }

    /// Appends to the message, which is known to become at most `bound` bytes long.
    pub(super) fn extend_message(&mut self, piece: &[u8], bound: usize) {
        self.extend(piece, bound);
        self.message_len = self.bytes.len();
    }

    /// Appends to the control frame's payload, of which `missing` bytes are to come.
    pub(super) fn extend_control(&mut self, piece: &[u8], missing: usize) {
        let bound = self.bytes.len() + piece.len() + missing;
        self.extend(piece, bound);
    }

    /// Checks that the message so far can become UTF-8.
    pub(super) fn check_text(&mut self) -> Result<(), Error> {
        match simdutf8::compat::from_utf8(&self.bytes[self.checked..self.message_len]) {
            Ok(_) => self.checked = self.message_len,
            // The last character has not arrived whole: at most 3 bytes to look at again.
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(Error::InvalidText),
        }
        Ok(())
    }

    /// Ends the message: `bytes` are whole, until they are released.
    pub(super) fn finish_message(&mut self) {
        self.message_len = 0;
        self.checked = 0;
    }

    /// Puts what a finished message inflates to in its place, until it is released.
    pub(super) fn replace_message(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
    }

    /// Lets go of what is not part of an unfinished message.
    pub(super) fn release(&mut self) {
        if self.message_len > 0 {
            self.bytes.truncate(self.message_len);
        } else if self.bytes.capacity() > 0 {
            self.bytes = Vec::new();
        }
    }

    /// Grows with what arrived: to at most twice that, and not beyond `bound`.
    fn extend(&mut self, piece: &[u8], bound: usize) {
        let len = self.bytes.len() + piece.len();
        let capacity = self.bytes.capacity();
        if len > capacity {
            let room = capacity.saturating_mul(2).min(bound).max(len);
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
    }
}
