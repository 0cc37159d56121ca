//! The compressed variant of a frame, made once for all sockets that agreed on it.

use std::cell::RefCell;

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, Status};

use super::{frame, payload};

/// Says that a message is compressed (RFC 7692 §6).
const COMPRESSED: u8 = 0x40;
/// The end of a flush, which is not sent (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
/// A smaller frame stays plain: it is one packet either way, and of JSON of 250 bytes hardly a third
/// is saved, for as long as it takes to compress twice as much.
const MIN_FRAME_BYTES: usize = 256;
/// The lowest level that adapts its codes to the data: a fifth to a third fewer bytes than level 1
/// for twice its time, and within a tenth of level 6 at half its time.
const LEVEL: Compression = Compression::new(2);

thread_local! {
    /// About 380 kB, made by a thread's first frame. Made anew for each, it costs a quarter more
    /// time for a frame of 1 kB. No frame's bytes are left in it for the next.
    static STATE: RefCell<Compress> = RefCell::new(Compress::new(LEVEL, false));
}

/// Compresses a frame that [`encode`](super::encode) made; `None` where the plain one is to be sent.
///
/// That is so for control frames, for small frames, and where compression does not save a byte. The
/// result depends on nothing but the frame, so that sockets may share it. It is for those whose
/// extension [`accept_deflate`](crate::handshake::accept_deflate) accepted.
pub fn deflate(plain: &Bytes) -> Option<Bytes> {
    if plain.len() < MIN_FRAME_BYTES {
        return None;
    }
    let (kind, payload) = payload(plain)?;
    let compressed = STATE.with_borrow_mut(|state| compress(state, &payload))?;
    Some(frame(COMPRESSED | kind.opcode(), &[&compressed]))
}

/// Compresses into fewer bytes than `payload` has.
fn compress(state: &mut Compress, payload: &[u8]) -> Option<Vec<u8>> {
    let mut compressed = Vec::with_capacity(payload.len() + TAIL.len());
    state.reset();
    let status = state.compress_vec(payload, &mut compressed, FlushCompress::Sync);
    // Where the buffer is full, there may be more, and nothing is saved.
    if !matches!(status, Ok(Status::Ok)) || compressed.len() == compressed.capacity() {
        return None;
    }
    compressed.ends_with(&TAIL).then(|| {
        compressed.truncate(compressed.len() - TAIL.len());
        compressed
    })
}
