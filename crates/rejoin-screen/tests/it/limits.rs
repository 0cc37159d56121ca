//! Limits of memory, and the behaviour at the limits.

use rejoin_screen::{ExportFormat, Screen, ScreenSize, ScrollbackLimits};

use crate::{assert_same, fed, restored};

/// The longest interpreted string, in bytes.
const STRING: usize = 64 * 1024;

#[test]
fn an_overlong_string_is_ignored_at_any_cut() {
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
        // Before, at and after the limit, and right before the end of the string.
        for cut in [10, STRING, STRING + 20, output.len() - 7] {
            let (before, after) = output.as_bytes().split_at(cut);
            let mut late = restored(&fed(20, 4, before));
            late.feed(after.as_ref());

            assert_same(&whole, &late);
        }
    }
}

#[test]
fn a_snapshot_inside_an_endless_string_is_small() {
    let mut screen = fed(80, 24, b"\x1b]52;c;");
    for _ in 0..1000 {
        screen.feed(&[b'x'; 4096]);
    }
    assert!(screen.snapshot(0).len() < 4096);
}

#[test]
fn a_snapshot_depends_on_the_screen_not_on_the_output() {
    let mut screen = Screen::new(ScreenSize { cols: 80, rows: 24 }, 10_000);
    screen.feed("\x1b[31mword \x1b[m".repeat(100_000).as_bytes());
    assert!(screen.snapshot(0).len() < 24 * 80 * 4);
    assert!(screen.snapshot(100).len() < 124 * 80 * 4);
}

#[test]
fn the_history_keeps_the_newest_lines() {
    let mut screen = Screen::new(ScreenSize { cols: 20, rows: 2 }, 3);
    screen.feed(b"1\r\n2\r\n3\r\n4\r\n5\r\n6");
    let mut viewer = restored(&screen);
    viewer.resize(ScreenSize { cols: 20, rows: 9 });
    assert_eq!(viewer.text(), "2\n3\n4\n5\n6\n\n\n\n");
}

#[test]
fn endless_combining_characters_do_not_grow_the_screen() {
    let mut screen = fed(20, 2, b"a");
    for _ in 0..1000 {
        screen.feed("\u{301}".repeat(100).as_bytes());
    }
    assert!(screen.snapshot(0).len() < 1024);
}

#[test]
fn links_that_scrolled_away_are_freed() {
    let mut screen = fed(20, 2, b"");
    for link in 0..20_000 {
        screen.feed(format!("\x1b]8;;https://example.org/{link}\x07x\x1b]8;;\x07\r\n").as_bytes());
    }
    assert_same(&screen, &restored(&screen));
}

#[test]
fn the_smallest_screen_has_two_columns_and_one_row() {
    let screen = Screen::new(ScreenSize { cols: 0, rows: 0 }, 0);
    assert_eq!(screen.size(), ScreenSize { cols: 2, rows: 1 });
}

#[test]
fn the_table_of_widths_of_the_viewers_is_current() {
    let table = include_str!("../../xterm/widths.json");
    assert_eq!(
        table.trim_end(),
        rejoin_screen::widths_json(),
        "update it with the example `widths`"
    );
}

#[test]
fn a_repetition_is_bounded_and_keeps_combining_characters() {
    let mut screen = fed(10, 2, "e\u{301}\x1b[3b".as_bytes());
    assert_eq!(screen.text(), "e\u{301}e\u{301}e\u{301}e\u{301}\n");
    screen.feed(b"\x1b[65535b");
    assert_same(&screen, &restored(&screen));
}

#[test]
fn a_cell_keeps_eight_combining_characters() {
    let screen = fed(10, 2, format!("e{}", "\u{301}".repeat(20)).as_bytes());
    assert_eq!(screen.text(), format!("e{}\n", "\u{301}".repeat(8)));
}

#[test]
fn a_long_title_is_cut_between_characters() {
    let screen = fed(10, 2, format!("\x1b]2;x{}\x07", "é".repeat(1000)).as_bytes());
    assert_eq!(screen.title(), format!("x{}", "é".repeat(511)));
    assert_same(&screen, &restored(&screen));
}

#[test]
fn text_with_an_overlong_link_has_no_link() {
    let link = |length: usize| format!("\x1b]8;;https://e.org/{}\x07x", "x".repeat(length));
    assert!(fed(10, 2, link(2000).as_bytes()).html().contains("<a "));
    assert!(!fed(10, 2, link(2100).as_bytes()).html().contains("<a "));
    let id = format!("\x1b]8;id={};https://e.org\x07x", "x".repeat(300));
    assert!(!fed(10, 2, id.as_bytes()).html().contains("<a "));
}

#[test]
fn links_are_accepted_again_after_large_ones_are_gone() {
    let link = |number: u32| {
        let uri = format!("https://e.org/{number}/{}", "x".repeat(1900));
        format!("\x1b]8;;{uri}\x07x\x1b]8;;\x07")
    };
    let has_link = |screen: &Screen| screen.html().contains("<a ");
    let mut screen = fed(80, 24, b"");

    // All are in use, and take almost 4 MiB.
    for number in 0..1900 {
        screen.feed(link(number).as_bytes());
    }
    screen.feed(b"\x1b[2J\x1b[H");
    assert!(!has_link(&screen));

    for number in 2000..3000 {
        screen.feed(b"\x1b[H");
        screen.feed(link(number).as_bytes());
    }
    assert!(has_link(&screen));
}

#[test]
fn links_beyond_the_memory_limit_are_dropped() {
    let mut screen = fed(200, 60, b"");
    for link in 0..12_000 {
        let uri = format!("https://example.org/{link}/{}", "x".repeat(1900));
        screen.feed(format!("\x1b]8;;{uri}\x07x").as_bytes());
    }

    // The limit is 4 MiB; the links take 23 MB.
    let links = screen.html().matches("<a ").count();
    assert!((1500..2500).contains(&links), "{links} links");
}

#[test]
fn a_history_stays_within_its_byte_limit() {
    let scrollback = ScrollbackLimits { lines: 100_000, bytes: 64 * 1024 };
    let mut screen = Screen::with_scrollback(ScreenSize { cols: 80, rows: 24 }, scrollback);

    for line in 0..20_000 {
        screen.feed(format!("{line} {}\r\n", "x".repeat(60)).as_bytes());
    }

    for cols in [80, 7, 200, 80] {
        screen.resize(ScreenSize { cols, rows: 24 });
        let written: usize = screen.export(ExportFormat::Ansi).map(|piece| piece.len()).sum();

        assert!((40_000..80_000).contains(&written), "{written} bytes at {cols} columns");
    }
}

#[test]
fn a_bounded_snapshot_keeps_the_newest_lines_and_counts_others() {
    let mut screen = Screen::new(ScreenSize { cols: 80, rows: 24 }, 10_000);
    for line in 0..10_000 {
        screen.feed(format!("line {line} {}\r\n", "x".repeat(60)).as_bytes());
    }

    const MOST: usize = 128 * 1024;
    let snapshot = screen.snapshot_within(usize::MAX, MOST);

    assert!((MOST * 8 / 10..=MOST).contains(&snapshot.bytes.len()), "{}", snapshot.bytes.len());
    let kept = 10_000 - 23 - snapshot.history_omitted;

    assert_eq!(snapshot.bytes, screen.snapshot(kept));
    let whole = screen.snapshot_within(usize::MAX, 16 * MOST);

    assert_eq!((whole.history_omitted, whole.bytes), (0, screen.snapshot(usize::MAX)));
}

#[test]
fn a_screen_over_the_bound_is_drawn_without_attributes() {
    let mut screen = Screen::new(ScreenSize { cols: 400, rows: 100 }, 100);
    for cell in 0..400 * 200 {
        screen.feed(format!("\x1b[38;2;{};0;0mx", cell % 256).as_bytes());
    }

    let snapshot = screen.snapshot_within(usize::MAX, 128 * 1024);
    assert!(snapshot.bytes.len() <= 128 * 1024, "{} bytes", snapshot.bytes.len());

    let mut viewer = Screen::new(screen.size(), 100);
    viewer.feed(&snapshot.bytes);
    let count_full_rows =
        |text: String| text.lines().filter(|line| line.starts_with("xxxxxx")).count();

    assert_eq!(count_full_rows(viewer.text()), 100);
}
