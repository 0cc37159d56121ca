//! The encodings of a frame on a WebSocket.

use bytes::Bytes;
use rejoin_core::{Frame, FrameEncoding, PayloadKind};
use rejoin_protocol::binary::{BinaryKind, BinaryHeader};
use rejoin_websocket::{MessageKind, deflate_payload, encode};

/// The size below which a frame is never compressed: echoed keys, sizes, acknowledgements. The
/// check spares each of them the memory for a second encoding.
const SMALL_BYTES: usize = 256;

/// Returns the bytes of a frame for a connection that reads `encoding`; empty: nothing is sent.
pub(super) fn of(frame: &Frame, encoding: FrameEncoding) -> &Bytes {
    match encoding {
        FrameEncoding::Compressed if frame.plain().len() < SMALL_BYTES => frame.plain(),
        _ => frame.encoded(encoding, transcode),
    }
}

/// Compresses a frame for all connections that will read it compressed.
pub(crate) fn prepare(frame: &Frame) {
    of(frame, FrameEncoding::Compressed);
}

/// Returns the bytes of a message for one connection; `None`: nothing is sent.
///
/// A raw connection gets no messages of the protocol. A message is not compressed: no other
/// connection would share the result.
pub(super) fn of_reply(plain: Bytes, encoding: FrameEncoding) -> Option<Bytes> {
    match encoding {
        FrameEncoding::Plain | FrameEncoding::Compressed => Some(plain),
        FrameEncoding::Raw => None,
    }
}

fn transcode(frame: &Frame, encoding: FrameEncoding) -> Bytes {
    match encoding {
        FrameEncoding::Plain => frame.plain().clone(),
        FrameEncoding::Compressed => {
            let kind = match frame.kind() {
                PayloadKind::Text => MessageKind::Text,
                PayloadKind::Binary => MessageKind::Binary,
            };
            deflate_payload(kind, &frame.payload()).unwrap_or_else(|| frame.plain().clone())
        }
        FrameEncoding::Raw => raw(frame).unwrap_or_default(),
    }
}

/// Returns the bytes that a terminal's program printed, or a snapshot of its screen.
fn raw(frame: &Frame) -> Option<Bytes> {
    if frame.kind() != PayloadKind::Binary {
        return None;
    }

    let payload = frame.payload();
    let (head, bytes) = BinaryHeader::read(&payload).ok()?;
    let is_printed = matches!(head.kind, BinaryKind::Output | BinaryKind::Snapshot);
    is_printed.then(|| encode(MessageKind::Binary, &[bytes]))
}

#[cfg(test)]
mod tests {
    use rejoin_protocol::StreamNumber;

    use super::*;

    fn frame(kind: BinaryKind, bytes: &[u8]) -> Frame {
        let head = BinaryHeader { kind, stream: StreamNumber(1), offset: 1 << 20 };
        Frame::new(crate::encode, PayloadKind::Binary, &[&head.to_bytes(), bytes])
    }

    #[test]
    fn a_raw_connection_gets_printed_bytes_only() {
        for kind in [BinaryKind::Output, BinaryKind::Snapshot] {
            let frame = frame(kind, b"printed");
            assert_eq!(*of(&frame, FrameEncoding::Raw), encode(MessageKind::Binary, &[b"printed"]));
        }

        let text = Frame::new(crate::encode, PayloadKind::Text, &[b"{}"]);
        let receipt = frame(BinaryKind::InputAck, b"");
        for frame in [text, receipt] {
            assert!(of(&frame, FrameEncoding::Raw).is_empty());
            assert_eq!(of_reply(frame.plain().clone(), FrameEncoding::Raw), None);
        }
    }

    #[test]
    fn small_frames_and_replies_are_not_compressed() {
        let large = frame(BinaryKind::Output, &[b'x'; 5000]);
        assert!(of(&large, FrameEncoding::Compressed).len() < 100);

        let small = frame(BinaryKind::Output, b"x");
        assert_eq!(of(&small, FrameEncoding::Compressed).as_ptr(), small.plain().as_ptr());

        let reply = large.plain().clone();
        assert_eq!(of_reply(reply.clone(), FrameEncoding::Compressed), Some(reply));
    }

    #[test]
    fn an_encoding_is_computed_once_for_all() {
        let frame = frame(BinaryKind::Output, &[b'x'; 5000]);
        for encoding in FrameEncoding::ALL {
            assert_eq!(of(&frame, encoding).as_ptr(), of(&frame.clone(), encoding).as_ptr());
        }
    }
}
