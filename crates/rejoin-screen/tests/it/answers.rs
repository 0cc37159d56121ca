//! Queries: exactly one answer to each.

use crate::{fed, screen};

fn answer(output: &[u8]) -> String {
    let mut screen = fed(80, 24, output);
    String::from_utf8_lossy(&screen.take_answers()).into_owned()
}

#[test]
fn each_query_is_answered_once() {
    let expected = [
        ("\x1b[c", "\x1b[?62;22c"),
        ("\x1bZ", "\x1b[?62;22c"),
        ("\x1b[>c", "\x1b[>0;277;0c"),
        ("\x1b[5n", "\x1b[0n"),
        ("ab\x1b[6n", "\x1b[1;3R"),
        ("\x1b[5;9H\x1b[?6n", "\x1b[?5;9R"),
        ("\x1b[3;9r\x1b[?6h\x1b[2;2H\x1b[6n", "\x1b[2;2R"),
        ("\x1b[?2004h\x1b[?2004$p", "\x1b[?2004;1$y"),
        ("\x1b[?2026$p", "\x1b[?2026;2$y"),
        ("\x1b[?4711$p", "\x1b[?4711;0$y"),
        ("\x1b[4$p", "\x1b[4;2$y"),
        ("\x1b[18t", "\x1b[8;24;80t"),
        ("\x1b[14t", "\x1b[4;384;640t"),
        ("\x1b[16t", "\x1b[6;16;8t"),
        ("\x1b]11;?\x07", "\x1b]11;rgb:0000/0000/0000\x07"),
        ("\x1b]10;?;?\x1b\\", "\x1b]10;rgb:ffff/ffff/ffff\x1b\\\x1b]11;rgb:0000/0000/0000\x1b\\"),
        ("\x1b]4;196;?\x07", "\x1b]4;196;rgb:ffff/0000/0000\x07"),
        ("\x1b]4;1;#123456\x07\x1b]4;1;?\x07", "\x1b]4;1;rgb:1212/3434/5656\x07"),
        ("\x1bP$qr\x1b\\", "\x1bP1$r1;24r\x1b\\"),
        ("\x1b[1;4:3m\x1bP$qm\x1b\\", "\x1bP1$r0;1;4:3m\x1b\\"),
        ("\x1bP$qzz\x1b\\", "\x1bP0$r\x1b\\"),
        ("\x1bP+q544e\x1b\\", "\x1bP0+r544e\x1b\\"),
    ];
    for (query, expected) in expected {
        assert_eq!(answer(query.as_bytes()), expected, "{query:?}");
    }
}

#[test]
fn the_version_names_the_program() {
    assert!(answer(b"\x1b[>q").starts_with("\x1bP>|rejoin("));
}

#[test]
fn keyboard_flags_are_not_reported_because_viewers_ignore_them() {
    assert_eq!(answer(b"\x1b[?u\x1b[>5u\x1b[=3;2u\x1b[?u\x1b[<u\x1b[?u"), "");
}

#[test]
fn other_sequences_are_not_answered() {
    let output = b"\x1b[?1004h\x1b[1c\x1b[7n\x1b]52;c;?\x07\x1b]0;?\x07\x1b[22t\x1b]11;#000\x07\x1bPq\x1b\\\x05";
    assert_eq!(answer(output), "");
}

#[test]
fn a_title_is_never_reported_as_input() {
    assert_eq!(answer(b"\x1b]2;rm -rf\x07\x1b[21t"), "\x1b]l\x1b\\");
}

#[test]
fn answers_are_taken_once_and_are_bounded() {
    let mut screen = screen(80, 24);
    for _ in 0..100_000 {
        screen.feed(b"\x1b[c");
    }

    let answers = screen.take_answers();
    assert!(answers.len() <= 64 * 1024, "{}", answers.len());
    assert_eq!(screen.take_answers(), b"");
}
