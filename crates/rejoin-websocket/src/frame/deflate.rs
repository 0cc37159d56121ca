//! The compressed variant of a frame, made once for all sockets that agreed on it.

use std::cell::RefCell;

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, Status};

use super::{Kind, frame, header_len, payload};

/// Says that a message is compressed (RFC 7692 §6).
const COMPRESSED: u8 = 0x40;
/// The end of a flush, which is not sent (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
/// A smaller frame stays plain: it is one packet either way, and of JSON of 250 bytes hardly a third
/// is saved, for as long as it takes to compress twice as much.
const MIN_FRAME_BYTES: usize = 256;
/// For the blocks' headers and the end of the flush.
const SLACK_BYTES: usize = 64;
/// The lowest level that adapts its codes to the data: a fifth to a third fewer bytes than level 1
/// for twice its time, and within a tenth of level 6 at half its time.
const LEVEL: Compression = Compression::new(2);

thread_local! {
    /// About 380 kB, made by a thread's first frame. Made anew for each, it costs a quarter more
    /// time for a frame of 1 kB. No frame's bytes are left in it for the next.
    static STATE: RefCell<Compress> = RefCell::new(fresh());
}

/// Compresses a frame that [`encode`](super::encode) made; `None` where the plain one is to be sent.
///
/// That is so for control frames, for small frames, and where compression does not save a byte. The
/// result depends on nothing but the frame, so that sockets may share it. It is for those whose
/// extension [`accept_deflate`](crate::handshake::accept_deflate) accepted.
pub fn deflate(plain: &Bytes) -> Option<Bytes> {
    let (kind, payload) = payload(plain)?;
    deflate_payload(kind, &payload)
}

/// Compresses a message, as [`deflate`] does, for a caller that has the payload of the frame.
pub fn deflate_payload(kind: Kind, payload: &[u8]) -> Option<Bytes> {
    if header_len(payload.len()) + payload.len() < MIN_FRAME_BYTES {
        return None;
    }
    let compressed = STATE.with_borrow_mut(|state| compress(state, payload))?;
    Some(frame(COMPRESSED | kind.opcode(), &[&compressed]))
}

fn fresh() -> Compress {
    Compress::new(LEVEL, false)
}

/// Compresses into fewer bytes than `payload` has.
fn compress(state: &mut Compress, payload: &[u8]) -> Option<Vec<u8>> {
    // No literal takes more than 9 bits, so that this has room for all that comes out.
    let room = payload.len() + payload.len() / 8 + SLACK_BYTES;
    let mut compressed = Vec::with_capacity(room);
    state.reset();
    let status = state.compress_vec(payload, &mut compressed, FlushCompress::Sync);
    if !matches!(status, Ok(Status::Ok)) || compressed.len() == compressed.capacity() {
        // What zlib-rs 0.6.8 has not handed out narrows its own buffer, even after a reset, until
        // it panics: a state that was stopped early is not used again.
        *state = fresh();
        return None;
    }
    compressed.truncate(compressed.strip_suffix(&TAIL)?.len());
    (compressed.len() < payload.len()).then_some(compressed)
}
