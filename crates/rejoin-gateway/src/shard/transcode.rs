//! The forms of a frame on a WebSocket: plain, compressed, raw.

use bytes::Bytes;
use rejoin_core::{Form, Frame};
use rejoin_protocol::binary::{BinaryKind, Head};
use rejoin_websocket::{Kind, deflate, encode, payload};

/// The size below which frames are not compressed: echoed keys, sizes, acknowledgements. They
/// would not shrink, and each would keep a slot for its compressed form.
const SMALL_BYTES: usize = 256;

/// Returns the bytes of a frame in `form`. Empty if the form omits the frame.
///
/// Each form is made once per frame and shared by all its readers.
pub(super) fn frame(frame: &Frame, form: Form) -> &Bytes {
    match form {
        Form::Compressed if frame.plain().len() < SMALL_BYTES => frame.plain(),
        _ => frame.form(form, transcode),
    }
}

/// Compresses a frame ahead of its first compressed reader, away from the I/O threads.
pub(crate) fn prepare(frame: &Frame) {
    self::frame(frame, Form::Compressed);
}

/// Returns a message for one connection in `form`; `None` if the form omits it.
///
/// Replies are never compressed: the cost would not be shared with any other connection.
pub(super) fn reply(plain: Bytes, form: Form) -> Option<Bytes> {
    match (form, payload(&plain)) {
        (Form::Plain | Form::Compressed, _) => Some(plain),
        // Control frames: a pong or a close. A raw client does not know our messages.
        (Form::Raw, None) => Some(plain),
        (Form::Raw, Some(_)) => None,
    }
}

fn transcode(plain: &Bytes, form: Form) -> Bytes {
    match form {
        Form::Plain => plain.clone(),
        Form::Compressed => deflate(plain).unwrap_or_else(|| plain.clone()),
        Form::Raw => raw(plain).unwrap_or_default(),
    }
}

/// Returns the output or the snapshot in a frame, without our header; `None` for other frames.
fn raw(plain: &Bytes) -> Option<Bytes> {
    let (Kind::Binary, message) = payload(plain)? else { return None };

    let (head, bytes) = Head::read(&message).ok()?;
    let printed = matches!(head.kind, BinaryKind::Output | BinaryKind::Snapshot);
    printed.then(|| encode(Kind::Binary, &[bytes]))
}

#[cfg(test)]
mod tests {
    use rejoin_protocol::StreamNumber;
    use rejoin_websocket::{close, pong};

    use super::*;

    fn message(kind: BinaryKind, bytes: &[u8]) -> Frame {
        let head = Head { kind, stream: StreamNumber(1), offset: 1 << 20 };
        encode(Kind::Binary, &[&head.to_bytes(), bytes]).into()
    }

    #[test]
    fn a_raw_connection_receives_only_output_and_snapshots() {
        for kind in [BinaryKind::Output, BinaryKind::Snapshot] {
            let output = message(kind, b"printed");
            assert_eq!(*frame(&output, Form::Raw), encode(Kind::Binary, &[b"printed"]));
        }

        let text = encode(Kind::Text, &[b"{}"]);
        let ack = message(BinaryKind::InputAck, b"");
        for omitted in [text.clone().into(), ack.clone()] {
            assert!(frame(&omitted, Form::Raw).is_empty());
        }

        assert_eq!(reply(text, Form::Raw), None);
        assert_eq!(reply(ack.plain().clone(), Form::Raw), None);

        for control in [pong(b"here"), close(1000, "normal")] {
            assert_eq!(reply(control.clone(), Form::Raw), Some(control));
        }
    }

    #[test]
    fn small_frames_and_replies_are_not_compressed() {
        let large = message(BinaryKind::Output, &[b'x'; 5000]);
        assert!(frame(&large, Form::Compressed).len() < 100);

        let small = message(BinaryKind::Output, b"x");
        assert_eq!(frame(&small, Form::Compressed).as_ptr(), small.plain().as_ptr());

        let plain = large.plain().clone();
        assert_eq!(reply(plain.clone(), Form::Compressed), Some(plain));
    }

    #[test]
    fn each_form_of_a_frame_is_made_once() {
        let output = message(BinaryKind::Output, &[b'x'; 5000]);
        for form in Form::ALL {
            assert_eq!(frame(&output, form).as_ptr(), frame(&output.clone(), form).as_ptr());
        }
    }
}
