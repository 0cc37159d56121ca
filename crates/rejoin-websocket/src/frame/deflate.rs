//! Compressed variants of frames, created once for all sockets that negotiated compression.

use std::cell::RefCell;

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, Status};

use super::{MessageKind, frame, header_len, payload};

/// The reserved bit of a compressed message (RFC 7692 §6).
const COMPRESSED: u8 = 0x40;
/// The end of a flush, which the sender omits (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
/// The size below which a frame stays plain.
///
/// Such a frame is one packet either way. Compression saves less than a third of 250 bytes of JSON,
/// but takes as long as for 500 bytes.
const MIN_FRAME_BYTES: usize = 256;
/// The maximum size of the block headers and the end of the flush.
const SLACK_BYTES: usize = 64;
/// The lowest level that adapts its codes to the data.
///
/// It saves 20 to 33 % of the bytes of level 1 in twice the time, and comes within 10 % of level 6
/// in half the time.
const LEVEL: Compression = Compression::new(2);

thread_local! {
    /// The compressor of a thread, about 380 kB, created by the thread's first frame.
    ///
    /// A new compressor per frame would add a quarter to the time of a 1 kB frame. A reset removes
    /// all bytes of the previous frame.
    static STATE: RefCell<Compress> = RefCell::new(fresh());
}

/// Compresses a frame that [`encode`](super::encode) built.
///
/// Returns `None` if the plain frame must be sent: for control frames, for small frames, and if
/// compression saves no byte. The result depends on the frame only, so sockets can share it. Send
/// it only to sockets for which [`accept_deflate`](crate::handshake::accept_deflate) accepted an
/// offer.
pub fn deflate(plain: &Bytes) -> Option<Bytes> {
    let (kind, payload) = payload(plain)?;
    deflate_payload(kind, &payload)
}

/// Compresses a message as [`deflate`] does, for a caller that has the frame's payload.
pub fn deflate_payload(kind: MessageKind, payload: &[u8]) -> Option<Bytes> {
    if header_len(payload.len()) + payload.len() < MIN_FRAME_BYTES {
        return None;
    }

    let compressed = STATE.with_borrow_mut(|state| compress(state, payload))?;
    Some(frame(COMPRESSED | kind.opcode(), &[&compressed]))
}

fn fresh() -> Compress {
    Compress::new(LEVEL, false)
}

/// Compresses `payload`; returns `None` if the result is not shorter.
fn compress(state: &mut Compress, payload: &[u8]) -> Option<Vec<u8>> {
    // A literal takes at most 9 bits, so the output always fits.
    let room = payload.len() + payload.len() / 8 + SLACK_BYTES;
    let mut compressed = Vec::with_capacity(room);

    state.reset();
    let status = state.compress_vec(payload, &mut compressed, FlushCompress::Sync);
    // A full buffer means that more output may be pending.
    if !matches!(status, Ok(Status::Ok)) || compressed.len() == compressed.capacity() {
        // Replace the state, a reset is not enough: in zlib-rs 0.6.8 output that was not taken
        // shrinks the internal buffer for good, and a later call panics.
        *state = fresh();
        return None;
    }

    // The receiver appends this end itself (RFC 7692 §7.2.2).
    compressed.truncate(compressed.strip_suffix(&TAIL)?.len());
    (compressed.len() < payload.len()).then_some(compressed)
}
