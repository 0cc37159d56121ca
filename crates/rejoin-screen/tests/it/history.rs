//! Pages of the history: exact lines, whatever the pages and the output in between.

use proptest::prelude::*;
use rejoin_screen::{HistoryPage, HistoryRange, Screen, ScreenSize};

use crate::{fed, properties::soup, screen};

const COLS: u16 = 12;
const ROWS: u16 = 3;
const PAGE_BYTES: usize = 4096;

/// Returns the described rows of one kind; `~` marks a row that continues the one above.
fn rows(screen: &Screen, kind: &str) -> Vec<String> {
    let description = format!("{screen:?}");
    let rows = description.lines().filter_map(|line| line.strip_prefix(kind));
    rows.filter(|row| row.starts_with(['~', ' ']) && !row.starts_with(" saved"))
        .map(str::to_owned)
        .collect()
}

/// Returns the rows of a page, drawn on an empty terminal.
fn drawn(page: &HistoryPage, cols: u16) -> Vec<String> {
    let count = u16::try_from(page.to - page.from).expect("a short page");
    let mut viewer = Screen::new(ScreenSize { cols, rows: count }, 10);
    viewer.feed(page.data.as_bytes());
    assert_eq!(viewer.history().end, 0, "the page scrolled: {page:?}");

    let mut rows = rows(&viewer, "normal");
    if page.continues {
        rows[0].replace_range(..1, "~");
    }

    rows
}

/// Returns all rows of the history, read in pages from the newest to the oldest.
fn paged(screen: &Screen, cols: u16, lines: usize) -> Vec<String> {
    let range = screen.history();
    let mut before = range.end;
    let mut all = Vec::new();

    while before > range.first {
        let page = screen.history_page(before, lines, PAGE_BYTES);
        assert_eq!((page.range, page.to), (range, before));
        assert!(page.from < page.to && page.to - page.from <= lines as u64, "{page:?}");
        assert!(page.data.len() <= PAGE_BYTES, "{} bytes", page.data.len());

        all.splice(..0, drawn(&page, cols));
        before = page.from;
    }

    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn pages_of_any_size_draw_each_line_once(output in soup(), lines in 1..9_usize) {
        let screen = fed(COLS, ROWS, &output);
        prop_assert_eq!(paged(&screen, COLS, lines), rows(&screen, "history"));
    }

    #[test]
    fn output_between_pages_changes_no_line(output in soup(), later in soup(), lines in 1..9_usize) {
        let mut screen = fed(COLS, ROWS, &output);
        let range = screen.history();
        let before = screen.history_page(range.end, lines, PAGE_BYTES);

        screen.feed(&later);
        let after = screen.history_page(range.end, lines, PAGE_BYTES);

        // The later output may have dropped lines, always the oldest ones.
        if after.from == before.from && after.to == before.to {
            let first = usize::from(after.from == after.range.first);
            prop_assert_eq!(&drawn(&after, COLS)[first..], &drawn(&before, COLS)[first..]);
        } else {
            prop_assert!(after.range.first > before.from, "{:?}, {:?}", before, after);
        }
    }
}

#[test]
fn line_numbers_survive_clears_and_resets() {
    let mut screen = screen(COLS, ROWS);
    screen.feed(b"1\r\n2\r\n3\r\n4\r\n5");
    assert_eq!(screen.history(), HistoryRange { generation: 0, first: 0, end: 2 });

    screen.feed(b"\x1b[3J");
    assert_eq!(screen.history(), HistoryRange { generation: 0, first: 2, end: 2 });

    screen.feed(b"\r\n6\r\n7");
    assert_eq!(screen.history_page(4, 10, PAGE_BYTES).data, "3\r\n4");

    screen.feed(b"\x1bc");
    assert_eq!(screen.history(), HistoryRange { generation: 0, first: 4, end: 4 });
}

#[test]
fn a_change_of_columns_starts_a_generation() {
    let mut screen = screen(COLS, ROWS);
    screen.feed("a line of words\r\n".repeat(200).as_bytes());
    let before = screen.history();
    assert_eq!(before.generation, 0);

    screen.resize(ScreenSize { cols: 7, rows: ROWS });
    let after = screen.history();
    assert_eq!((after.generation, after.end - after.first), (1, 100));
    assert!(after.first >= before.first, "{before:?}, {after:?}");
    assert_eq!(paged(&screen, 7, 9), rows(&screen, "history"));

    screen.resize(ScreenSize { cols: 7, rows: 9 });
    assert_eq!(screen.history().generation, 1);
}

#[test]
fn a_line_over_the_bound_is_drawn_without_attributes() {
    let mut screen = Screen::new(ScreenSize { cols: 400, rows: 1 }, 10);
    for cell in 0..400 * 3 {
        screen.feed(format!("\x1b[38;2;{};0;0mx", cell % 256).as_bytes());
    }

    let page = screen.history_page(2, 10, 1024);
    assert_eq!((page.from, page.to, page.continues), (1, 2, true));
    assert!(page.data.starts_with("xxxxxx") && page.data.len() <= 1024, "{page:?}");

    let empty = screen.history_page(0, 10, 1024);
    assert_eq!((empty.from, empty.to, &*empty.data), (0, 0, ""));
}

#[test]
fn a_page_of_cells_that_take_long_has_few_lines() {
    let line = "e\u{301}\u{302}".repeat(99) + "\r\n";
    let costly = fed(100, 3, line.repeat(60).as_bytes());
    let plain = fed(100, 3, format!("{}\r\n", "e".repeat(99)).repeat(60).as_bytes());
    let lines = |screen: &Screen| {
        let page = screen.history_page(u64::MAX, 1000, 1 << 20);
        page.to - page.from
    };

    assert!((1..=20).contains(&lines(&costly)), "{}", lines(&costly));
    assert_eq!(lines(&plain), 58);
}
