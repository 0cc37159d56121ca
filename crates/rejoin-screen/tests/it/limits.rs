//! What bounds the memory, and what happens at the bounds.

use crate::{assert_same, fed, restored};
use rejoin_screen::{Screen, Size};

/// The length up to which strings are interpreted.
const STRING: usize = 64 * 1024;

#[test]
fn a_string_beyond_the_limit_changes_nothing_wherever_it_is_cut() {
    for (opener, end) in [
        ("\x1b]2;", "\x07"),
        ("\x1b]52;c;", "\x1b\\"),
        ("\x1bP1;2q", "\x1b\\"),
        ("\x1b_G", "\x1b\\"),
    ] {
        let output = format!("before{opener}{}{end}after", "x".repeat(2 * STRING));
        let whole = fed(20, 4, output.as_bytes());
        assert_eq!(whole.text().lines().next(), Some("beforeafter"));
        assert_eq!(whole.title(), "");
        for cut in [10, STRING, STRING + 20, output.len() - 7] {
            let (before, after) = output.as_bytes().split_at(cut);
            let mut late = restored(&fed(20, 4, before));
            late.feed(after.as_ref());
            assert_same(&whole, &late);
        }
    }
}

#[test]
fn a_snapshot_within_an_endless_string_stays_small() {
    let mut screen = fed(80, 24, b"\x1b]52;c;");
    for _ in 0..1000 {
        screen.feed(&[b'x'; 4096]);
    }
    assert!(screen.snapshot(0).len() < 4096);
}

#[test]
fn a_snapshot_costs_what_the_screen_costs_not_what_was_printed() {
    let mut screen = Screen::new(Size { cols: 80, rows: 24 }, 10_000);
    screen.feed("\x1b[31mword \x1b[m".repeat(100_000).as_bytes());
    assert!(screen.snapshot(0).len() < 24 * 80 * 4);
    assert!(screen.snapshot(100).len() < 124 * 80 * 4);
}

#[test]
fn the_history_keeps_the_newest_lines() {
    let mut screen = Screen::new(Size { cols: 20, rows: 2 }, 3);
    screen.feed(b"1\r\n2\r\n3\r\n4\r\n5\r\n6");
    let mut viewer = restored(&screen);
    viewer.resize(Size { cols: 20, rows: 9 });
    assert_eq!(viewer.text(), "2\n3\n4\n5\n6\n\n\n\n");
}

#[test]
fn combining_characters_without_end_do_not_grow_the_screen() {
    let mut screen = fed(20, 2, b"a");
    for _ in 0..1000 {
        screen.feed("\u{301}".repeat(100).as_bytes());
    }
    assert!(screen.snapshot(0).len() < 1024);
}

#[test]
fn links_that_scrolled_away_are_forgotten() {
    let mut screen = fed(20, 2, b"");
    for link in 0..20_000 {
        screen.feed(format!("\x1b]8;;https://example.org/{link}\x07x\x1b]8;;\x07\r\n").as_bytes());
    }
    assert_same(&screen, &restored(&screen));
}

#[test]
fn the_smallest_screen_has_two_columns_and_one_row() {
    let screen = Screen::new(Size { cols: 0, rows: 0 }, 0);
    assert_eq!(screen.size(), Size { cols: 2, rows: 1 });
}

#[test]
fn the_viewers_table_of_widths_is_the_engines() {
    let table = include_str!("../../xterm/widths.json");
    assert_eq!(table.trim_end(), rejoin_screen::widths_json(), "run the example `widths` again");
}
