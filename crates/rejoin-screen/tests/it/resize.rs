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
