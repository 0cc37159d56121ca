//! The encodings of a frame on a WebSocket: plain, compressed, raw.

use bytes::Bytes;
use rejoin_core::{Frame, FrameEncoding, PayloadKind};
use rejoin_protocol::binary::{BinaryHeader, BinaryKind};
use rejoin_websocket::{MessageKind, deflate_payload, encode};

/// The size below which a frame is never compressed, in bytes. Echoed keys, sizes and
/// acknowledgements thus need no memory for a second encoding.
const SMALL_BYTES: usize = 256;

/// Returns the bytes of a frame for a connection that reads `encoding`. Empty if it gets nothing.
pub(super) fn frame(frame: &Frame, encoding: FrameEncoding) -> &Bytes {
    match encoding {
        FrameEncoding::Compressed if frame.plain().len() < SMALL_BYTES => frame.plain(),
        _ => frame.encoded(encoding, transcode),
    }
}

/// Compresses a frame for all connections that will read it compressed.
pub(crate) fn prepare(frame: &Frame) {
    self::frame(frame, FrameEncoding::Compressed);
}

/// Returns the bytes of a message for one connection. `None` if the connection gets nothing.
///
/// A raw connection gets no protocol messages. Messages are not compressed, because no other
/// connection would share the result.
pub(super) fn reply(plain: Bytes, encoding: FrameEncoding) -> Option<Bytes> {
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
            // A frame that compression does not shrink stays plain.
            deflate_payload(kind, &frame.payload()).unwrap_or_else(|| frame.plain().clone())
        }
        FrameEncoding::Raw => raw(frame).unwrap_or_default(),
    }
}

/// Returns the terminal output in a frame, or the snapshot of a screen.
fn raw(frame: &Frame) -> Option<Bytes> {
    // Text frames are protocol messages.
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

    fn binary(kind: BinaryKind, bytes: &[u8]) -> Frame {
        let head = BinaryHeader { kind, stream: StreamNumber(1), offset: 1 << 20 };
        Frame::new(crate::encode, PayloadKind::Binary, &[&head.to_bytes(), bytes])
    }

    #[test]
    fn a_raw_connection_gets_printed_bytes_only() {
        for kind in [BinaryKind::Output, BinaryKind::Snapshot] {
            let frame = binary(kind, b"printed");
            assert_eq!(
                *super::frame(&frame, FrameEncoding::Raw),
                encode(MessageKind::Binary, &[b"printed"])
            );
        }

        let text = Frame::new(crate::encode, PayloadKind::Text, &[b"{}"]);
        let receipt = binary(BinaryKind::InputAck, b"");
        for frame in [text, receipt] {
            assert!(super::frame(&frame, FrameEncoding::Raw).is_empty());
            assert_eq!(reply(frame.plain().clone(), FrameEncoding::Raw), None);
        }
    }

    #[test]
    fn small_frames_and_replies_are_not_compressed() {
        let large = binary(BinaryKind::Output, &[b'x'; 5000]);
        assert!(frame(&large, FrameEncoding::Compressed).len() < 100);

        let small = binary(BinaryKind::Output, b"x");
        assert_eq!(frame(&small, FrameEncoding::Compressed).as_ptr(), small.plain().as_ptr());

        let plain = large.plain().clone();
        assert_eq!(reply(plain.clone(), FrameEncoding::Compressed), Some(plain));
    }

    #[test]
    fn an_encoding_is_computed_once_for_all() {
        let frame = binary(BinaryKind::Output, &[b'x'; 5000]);
        for encoding in FrameEncoding::ALL {
            assert_eq!(
                super::frame(&frame, encoding).as_ptr(),
                super::frame(&frame.clone(), encoding).as_ptr()
            );
        }
    }
}
