//! The buffer for payload bytes that arrive before the rest of their message.

use crate::Error;

/// The payload bytes of an incomplete message, then those of an interleaved control frame.
///
/// Both share one buffer, because control frames may interrupt a fragmented message. The buffer
/// owns no memory while it is empty.
#[derive(Default)]
pub(super) struct PartialPayload {
    /// Bytes beyond `message_len` are a control frame's payload, or belong to a returned event.
    bytes: Vec<u8>,
    /// The length of the incomplete message.
    message_len: usize,
    /// The length of the message's prefix that is known to be complete UTF-8 characters.
    checked: usize,
}

impl PartialPayload {
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

    /// Appends to the message, which grows to at most `bound` bytes.
    pub(super) fn extend_message(&mut self, piece: &[u8], bound: usize) {
        self.extend(piece, bound);
        self.message_len = self.bytes.len();
    }

    /// Appends to the control frame's payload, of which `missing` more bytes will follow.
    pub(super) fn extend_control(&mut self, piece: &[u8], missing: usize) {
        let bound = self.bytes.len() + piece.len() + missing;
        self.extend(piece, bound);
    }

    /// Checks that the message so far is a prefix of valid UTF-8.
    pub(super) fn check_text(&mut self) -> Result<(), Error> {
        match simdutf8::compat::from_utf8(&self.bytes[self.checked..self.message_len]) {
            Ok(_) => self.checked = self.message_len,
            // The last character is incomplete; the next call checks its 1 to 3 bytes again.
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(Error::InvalidText),
        }

        Ok(())
    }

    /// Ends the message; `bytes` returns it until the next release.
    pub(super) fn finish_message(&mut self) {
        self.message_len = 0;
        self.checked = 0;
    }

    /// Replaces a finished message with its inflated form until the next release.
    pub(super) fn replace_message(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
    }

    /// Frees everything that is not part of an incomplete message.
    pub(super) fn release(&mut self) {
        // A fragmented message keeps its buffer while control frames come and go. Otherwise the
        // memory is freed, so an idle connection owns none.
        if self.message_len > 0 {
            self.bytes.truncate(self.message_len);
        } else if self.bytes.capacity() > 0 {
            self.bytes = Vec::new();
        }
    }

    /// Appends received bytes.
    ///
    /// The capacity follows the bytes that arrived, never the length that a header declares: it at
    /// most doubles, up to `bound`. Otherwise ten bytes of input could reserve a whole message.
    fn extend(&mut self, piece: &[u8], bound: usize) {
        let len = self.bytes.len() + piece.len();
        let capacity = self.bytes.capacity();
        if len > capacity {
            let new_capacity = capacity.saturating_mul(2).min(bound).max(len);
            self.bytes.reserve_exact(new_capacity - self.bytes.len());
        }

        self.bytes.extend_from_slice(piece);
    }
}
