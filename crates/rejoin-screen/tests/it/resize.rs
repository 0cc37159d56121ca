//! Changes of size.

use proptest::collection::vec;
use proptest::prelude::*;
use rejoin_screen::ScreenSize;

use crate::properties::soup;
use crate::{assert_same, fed, restored};

#[test]
fn a_soft_wrapped_line_is_joined_if_it_fits() {
    let mut screen = fed(10, 4, b"abcdefghijklmno\r\n$ ");
    screen.resize(ScreenSize { cols: 20, rows: 4 });
    assert_eq!(screen.text(), "abcdefghijklmno\n$\n\n");
    screen.resize(ScreenSize { cols: 8, rows: 4 });
    assert_eq!(screen.text(), "abcdefgh\nijklmno\n$\n");
}

#[test]
fn a_hard_line_end_is_kept() {
    let mut screen = fed(10, 4, b"abc\r\ndef\r\n");
    screen.resize(ScreenSize { cols: 30, rows: 4 });
    assert_eq!(screen.text(), "abc\ndef\n\n");
}

#[test]
fn a_taller_screen_takes_lines_back_from_the_history() {
    let mut screen = fed(10, 2, b"1\r\n2\r\n3\r\n4");
    screen.resize(ScreenSize { cols: 10, rows: 4 });
    assert_eq!(screen.text(), "1\n2\n3\n4");
}

#[test]
fn the_alternate_screen_is_not_rewrapped() {
    let mut screen = fed(10, 3, b"main\x1b[?1049h\x1b[Habcdefghij");
    screen.resize(ScreenSize { cols: 6, rows: 3 });
    assert_eq!(screen.text(), "abcdef\n\n");
    screen.feed(b"\x1b[?1049l");
    assert_eq!(screen.text(), "main\n\n");
}

#[test]
fn a_narrowed_alternate_screen_shows_its_cells_when_widened() {
    let mut screen = fed(10, 3, "\x1b[?1049h\x1b[Habcdefghij\r\nerased\r\n日本語日本".as_bytes());
    screen.resize(ScreenSize { cols: 5, rows: 3 });
    assert_eq!(screen.text(), "abcde\nerase\n日本");
    screen.feed(b"\x1b[2H\x1b[2K\x1b[1;5HX");
    screen.resize(ScreenSize { cols: 8, rows: 3 });
    // The character that the margin cut in half is gone.
    assert_eq!(screen.text(), "abcdXfgh\n     d\n日本  日");
    screen.resize(ScreenSize { cols: 12, rows: 3 });
    assert_eq!(screen.text(), "abcdXfgh\n     d\n日本  日");
}

#[test]
fn a_change_of_height_keeps_the_cells_beyond_the_margin() {
    let mut screen = fed(10, 2, b"\x1b[?1049h\x1b[Habcdefghij");
    screen.resize(ScreenSize { cols: 5, rows: 2 });
    screen.resize(ScreenSize { cols: 5, rows: 3 });
    screen.resize(ScreenSize { cols: 10, rows: 3 });
    assert_eq!(screen.text(), "abcdefghij\n\n");
}

#[test]
fn halves_of_wide_characters_beyond_the_margin_are_empty() {
    let mut screen = fed(10, 1, "\x1b[?1049h\x1b[H日本語日本".as_bytes());
    for cols in [7, 3, 5, 9] {
        screen.resize(ScreenSize { cols, rows: 1 });
        assert_same(&screen, &restored(&screen));
    }
    assert_eq!(screen.text(), "日");
}

#[test]
fn a_new_row_of_a_narrowed_alternate_screen_is_empty() {
    let mut screen = fed(10, 2, b"\x1b[?1049h\x1b[Habcdefghij\r\nklmnopqrst");
    screen.resize(ScreenSize { cols: 5, rows: 2 });
    screen.feed(b"\r\nnew");
    screen.resize(ScreenSize { cols: 10, rows: 2 });
    assert_eq!(screen.text(), "klmnopqrst\nnew");
}

#[test]
fn a_rewrapped_line_keeps_its_erased_background() {
    let mut screen = fed(12, 4, b"abcdefghijklmn\x1b[44m\x1b[K\x1b[m\r\n\n");
    screen.resize(ScreenSize { cols: 11, rows: 4 });
    let snapshot = String::from_utf8_lossy(&screen.snapshot(0)).into_owned();
    // The cell behind the text becomes empty, as in xterm.js.
    assert!(snapshot.contains("lmn\x1b[C\x1b[44m\x1b[7X"), "{snapshot:?}");
}

#[test]
fn a_row_of_empty_inverse_cells_is_restored() {
    let output = "\x1b[7m\x1b[?7l日本日本".as_bytes();
    let mut screen = fed(12, 5, output);
    screen.resize(ScreenSize { cols: 2, rows: 1 });
    screen.feed(output);
    assert_same(&screen, &restored(&screen));
}

proptest! {
    #[test]
    fn any_output_is_restored_after_any_changes_of_size(
        output in soup(),
        sizes in vec((1..30_u16, 1..9_u16), 1..5),
    ) {
        let mut screen = fed(12, 5, &output);
        for (cols, rows) in sizes {
            screen.resize(ScreenSize { cols, rows });
            assert_same(&screen, &restored(&screen));
            screen.feed(&output);

            assert_same(&screen, &restored(&screen));
        }
    }

    #[test]
    fn any_text_is_restored_after_any_changes_of_size(
        words in vec("[a-z日🦀]{0,9}[ \r]?\n?", 0..40),
        sizes in vec((1..30_u16, 1..9_u16), 1..5),
        alternate: bool,
    ) {
        let mut screen = fed(12, 5, words.concat().replace('\n', "\r\n").as_bytes());
        if alternate {
            screen.feed("\x1b[?1049hon the alternate screen 日本語".as_bytes());
        }

        for (cols, rows) in sizes {
            screen.resize(ScreenSize { cols, rows });
            assert_same(&screen, &restored(&screen));
            screen.feed("more 語 ".as_bytes());

            assert_same(&screen, &restored(&screen));
        }
    }
}
