//! The keyboard state of native terminals: remembered, restored, and reset.

use crate::{assert_same, fed, restored};

/// Returns the control sequences of a snapshot that concern the keyboard.
fn keyboard(output: &str) -> String {
    let screen = fed(80, 24, output.as_bytes());
    let restored = restored(&screen);
    assert_same(&screen, &restored);

    let snapshot = screen.snapshot(0);
    let snapshot = String::from_utf8_lossy(&snapshot);
    let sequences = snapshot.split("\x1b[").skip(1);
    let is_keyboard = |sequence: &&str| {
        let is_flags = sequence.ends_with('u') && sequence.starts_with(['=', '>']);
        is_flags || sequence.starts_with(">4;") || ["?2027h", "?2048h"].contains(sequence)
    };
    sequences.filter(is_keyboard).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_keyboard_of_a_native_terminal_is_restored() {
    let expected = [
        ("", ""),
        ("\x1b[=5u", "=5;1u"),
        ("\x1b[=5u\x1b[=8;2u\x1b[=1;3u", "=12;1u"),
        ("\x1b[>1u", ">1u"),
        ("\x1b[=2u\x1b[>1u\x1b[>31u", "=2;1u >1u >31u"),
        ("\x1b[>1u\x1b[>3u\x1b[<u", ">1u"),
        ("\x1b[>1u\x1b[>3u\x1b[<9u", ""),
        // Only the five known flags are kept.
        ("\x1b[=997u", "=5;1u"),
        ("\x1b[>4;2m", ">4;2m"),
        ("\x1b[>4;2m\x1b[>4m", ""),
        ("\x1b[>4;1m\x1b[>4n", ""),
        ("\x1b[?2027h\x1b[?2048h", "?2027h ?2048h"),
        ("\x1b[?2027;2048h\x1b[?2048l", "?2027h"),
        ("\x1b[>1u\x1b[>4;2m\x1b[?2027;2048h\x1bc", ""),
    ];
    for (output, sequences) in expected {
        assert_eq!(keyboard(output), sequences, "{output:?}");
    }
}

#[test]
fn each_screen_has_its_own_keyboard_flags() {
    // A program on the alternate screen over a shell with flags.
    assert_eq!(keyboard("\x1b[>1u\x1b[?1049h\x1b[>15u"), ">1u >15u");
    let over = "\x1b[>1u\x1b[?1049h\x1b[>15u\x1b[?1049l";
    // The flags of the hidden screen come first.
    assert_eq!(keyboard(over), ">15u >1u");
    assert_eq!(keyboard(&format!("{over}\x1b[?1049h\x1b[<u\x1b[?1049l")), ">1u");
}

#[test]
fn a_program_that_pushes_flags_without_end_takes_no_memory() {
    let output = "\x1b[>1u".repeat(100_000);
    assert_eq!(keyboard(&output).split(' ').count(), 8);
}
