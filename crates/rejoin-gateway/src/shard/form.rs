//! The forms that a frame takes on a WebSocket.

use bytes::Bytes;
use rejoin_core::{Form, Frame};
use rejoin_protocol::binary::{BinaryHeader, BinaryKind};
use rejoin_websocket::{MessageKind, deflate, encode, payload};

/// Frames that are not worth a look: keys echoed, sizes, acknowledgements. Each would keep a
/// place for what it is compressed to, which is itself.
const SMALL_BYTES: usize = 256;

/// The bytes of a frame for a connection of this form; empty if it gets nothing.
pub(super) fn of(frame: &Frame, form: Form) -> &Bytes {
    match form {
        Form::Compressed if frame.plain().len() < SMALL_BYTES => frame.plain(),
        _ => frame.form(form, reform),
    }
}

/// Compresses a frame for all who will read it compressed.
pub(crate) fn prepare(frame: &Frame) {
    of(frame, Form::Compressed);
}

/// What a connection of this form gets of a message that is for it alone: nothing is made of it.
pub(super) fn of_reply(plain: Bytes, form: Form) -> Option<Bytes> {
    match (form, payload(&plain)) {
        (Form::Plain | Form::Compressed, _) => Some(plain),
        // A pong or a close; all else is said in words that a raw connection does not know.
        (Form::Raw, None) => Some(plain),
        (Form::Raw, Some(_)) => None,
    }
}

fn reform(plain: &Bytes, form: Form) -> Bytes {
    match form {
        Form::Plain => plain.clone(),
        Form::Compressed => deflate(plain).unwrap_or_else(|| plain.clone()),
        Form::Raw => raw(plain).unwrap_or_default(),
    }
}

/// Only what a terminal's program printed, or would have printed to show its screen.
fn raw(plain: &Bytes) -> Option<Bytes> {
    let (MessageKind::Binary, message) = payload(plain)? else { return None };
    let (head, bytes) = BinaryHeader::read(&message).ok()?;
    let printed = matches!(head.kind, BinaryKind::Output | BinaryKind::Snapshot);
    printed.then(|| encode(MessageKind::Binary, &[bytes]))
}

#[cfg(test)]
mod tests {
    use rejoin_protocol::StreamNumber;
    use rejoin_websocket::{close, pong};

    use super::*;

    fn message(kind: BinaryKind, bytes: &[u8]) -> Frame {
        let head = BinaryHeader { kind, stream: StreamNumber(1), offset: 1 << 20 };
        encode(MessageKind::Binary, &[&head.to_bytes(), bytes]).into()
    }

    #[test]
    fn a_raw_connection_gets_what_was_printed_and_nothing_else() {
        for kind in [BinaryKind::Output, BinaryKind::Snapshot] {
            let frame = message(kind, b"printed");
            assert_eq!(*of(&frame, Form::Raw), encode(MessageKind::Binary, &[b"printed"]));
        }
        let words = encode(MessageKind::Text, &[b"{}"]);
        let receipt = message(BinaryKind::InputAck, b"");
        for frame in [words.clone().into(), receipt.clone()] {
            assert!(of(&frame, Form::Raw).is_empty());
        }
        assert_eq!(of_reply(words, Form::Raw), None);
        assert_eq!(of_reply(receipt.plain().clone(), Form::Raw), None);
        for control in [pong(b"here"), close(1000, "normal")] {
            assert_eq!(of_reply(control.clone(), Form::Raw), Some(control));
        }
    }

    #[test]
    fn a_compressed_connection_gets_small_frames_and_replies_as_they_are() {
        let large = message(BinaryKind::Output, &[b'x'; 5000]);
        assert!(of(&large, Form::Compressed).len() < 100);
        let small = message(BinaryKind::Output, b"x");
        assert_eq!(of(&small, Form::Compressed).as_ptr(), small.plain().as_ptr());
        let reply = large.plain().clone();
        assert_eq!(of_reply(reply.clone(), Form::Compressed), Some(reply));
    }

    #[test]
    fn a_form_is_made_once_for_all() {
        let frame = message(BinaryKind::Output, &[b'x'; 5000]);
        for form in Form::ALL {
            assert_eq!(of(&frame, form).as_ptr(), of(&frame.clone(), form).as_ptr());
        }
    }
}
