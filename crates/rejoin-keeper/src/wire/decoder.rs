//! The reassembly of messages.

use super::{HEADER_BYTES, MAGIC, MAX_MESSAGE_BYTES, Message, WireError};

/// Reassembles messages from received bytes.
///
/// Holds at most one incomplete message, plus the bytes of one [`receive`](Self::receive).
#[derive(Debug, Default)]
pub struct Decoder {
    received: Vec<u8>,
    /// The number of bytes of `received` that are already decoded.
    start: usize,
    version: Option<u16>,
}

impl Decoder {
    /// Appends received bytes.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.received.drain(..self.start);
        self.start = 0;
        self.received.extend_from_slice(bytes);
    }

    /// Returns the peer's version once the header has arrived.
    #[must_use]
    pub fn version(&self) -> Option<u16> {
        self.version
    }

    /// Returns the next complete message. Skips messages of unknown kinds.
    ///
    /// # Errors
    /// A [`WireError`], after which the decoder must not be used.
    pub fn decode<M: Message>(&mut self) -> Result<Option<M>, WireError> {
        if self.version.is_none() && !self.take_header()? {
            return Ok(None);
        }

        while let Some(length) = self.complete_message()? {
            let message = &self.received[self.start + 4..][..length];
            let decoded = M::decode(message[0], &message[1..])?;
            self.start += 4 + length;
            if decoded.is_some() {
                return Ok(decoded);
            }
        }
        Ok(None)
    }

    fn take_header(&mut self) -> Result<bool, WireError> {
        if self.received.iter().zip(&MAGIC).any(|(received, expected)| received != expected) {
            return Err(WireError::Magic);
        }
        let Some(header) = self.received.first_chunk::<HEADER_BYTES>() else { return Ok(false) };

        self.version = Some(u16::from_le_bytes([header[8], header[9]]));
        self.start = HEADER_BYTES;
        Ok(true)
    }

    /// Returns the length of the next message if it has arrived completely.
    fn complete_message(&self) -> Result<Option<usize>, WireError> {
        let rest = &self.received[self.start..];
        let Some(length) = rest.first_chunk() else { return Ok(None) };
        let length = u32::from_le_bytes(*length);
        let bytes = usize::try_from(length).unwrap_or(usize::MAX);
        if bytes == 0 || bytes > MAX_MESSAGE_BYTES {
            return Err(WireError::Length(length));
        }
        Ok((rest.len() >= 4 + bytes).then_some(bytes))
    }
}
