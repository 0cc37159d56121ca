//! Property tests: any output, any cut, any split.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use rejoin_screen::{ExportFormat, Screen};

use crate::{SCROLLBACK, assert_same, fed, restored, screen};

// Small, so that wraps and scrolls are frequent.
const COLS: u16 = 12;
const ROWS: u16 = 5;

const PIECES: &[&str] = &[
    "a",
    "hello world",
    "  ",
    "xxxxxxxxxxxxxxxxxxxxxxxxx",
    "日本",
    "語",
    "e\u{301}",
    "\u{302}",
    "🦀",
    "👩\u{200d}💻",
    "lqk",
    "#",
    "──",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    "\x08",
    "\t",
    "\x0e",
    "\x0f",
    "\x07",
    "\x18",
    "\u{84}",
    "\u{85}",
    "\x1b7",
    "\x1b8",
    "\x1bD",
    "\x1bE",
    "\x1bH",
    "\x1bM",
    "\x1b=",
    "\x1b>",
    "\x1b(0",
    "\x1b(B",
    "\x1b)0",
    "\x1b)A",
    "[|]",
    "\x1b*0",
    "\x1bn",
    "\x1b#8",
    "\x1b%G",
    "\x1bc",
    "\x1b\\",
    "\x1b[m",
    "\x1b[1;31m",
    "\x1b[7m",
    "\x1b[4:3m",
    "\x1b[24m",
    "\x1b[44m",
    "\x1b[38;5;99m",
    "\x1b[48:2::9:8:7m",
    "\x1b[58;5;4m",
    "\x1b[9;53m",
    "\x1b[59;49m",
    "\x1b[1\"q",
    "\x1b[0\"q",
    "\x1b[?2K",
    "\x1b[?J",
    "\x1b]0;title\x07",
    "\x1b]8;;https://a.example\x1b\\",
    "\x1b]8;id=1;https://b.example/;x\x07",
    "\x1b]8;;\x07",
    "\x1b]4;7;#102030\x07",
    "\x1b]11;rgb:1/2/3\x07",
    "\x1b]104\x07",
    "\x1b[>5u",
    "\x1b[=3;2u",
    "\x1b[<u",
    "\x1b[>4;2m",
    "\x1b[?2048h",
    "\x1b[?2027h",
    "\x1b]133;A\x07",
    "\x1b_apc\x1b\\",
    "\x1bPq#1\x1b\\",
    "\x1b[3 q",
    "\x1b[!p",
    "\x1b[>1u",
    "\x1b[<u",
    "\x1b[=3;2u",
    "\x1b[22;2t",
    "\x1b[23;2t",
    "\x1b[1;",
    "\x1b[3\n1m",
    "\x1b]0;cut",
    "\x1b(",
    "\x1b[2 @",
    "\x1b[1 A",
    "\x1b[3b",
    "\x1b[2J",
    "\x1b[3g",
];
const MODES: &[&str] = &[
    "?1", "?6", "?7", "?9", "?12", "?25", "?45", "?47", "?66", "?1000", "?1003", "?1004", "?1006",
    "?1016", "?1047", "?1048", "?1049", "?2004", "?2026", "4", "20",
];

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known = || select(PIECES).prop_map(|piece| piece.as_bytes().to_vec());
    prop_oneof![
        10 => known(),
        3 => (select(MODES), select(&["h", "l"][..]))
            .prop_map(|(mode, switch)| format!("\x1b[{mode}{switch}").into_bytes()),
        3 => (0..ROWS + 2, 0..COLS + 3).prop_map(|(y, x)| format!("\x1b[{y};{x}H").into_bytes()),
        3 => (0..7_u16, 0..7_u16, select(&b"ABCDEFGIKLMPSTXZ`abdergsu@"[..]))
            .prop_map(|(one, two, last)| format!("\x1b[{one};{two}{}", char::from(last)).into_bytes()),
        1 => vec(any::<u8>(), 1..3),
    ]
}

/// Generates output of random, mostly valid pieces.
pub(crate) fn soup() -> impl Strategy<Value = Vec<u8>> {
    vec(piece(), 0..60).prop_map(|pieces| pieces.concat())
}

/// Generates output and an offset in it.
fn cut_soup() -> impl Strategy<Value = (Vec<u8>, usize)> {
    soup().prop_flat_map(|output| {
        let cuts = 0..=output.len();
        (Just(output), cuts)
    })
}

fn whole(output: &[u8]) -> Screen {
    fed(COLS, ROWS, output)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn a_viewer_that_joins_at_any_byte_continues_identically((output, cut) in cut_soup()) {
        let (before, after) = output.split_at(cut);
        let mut late = restored(&whole(before));
        late.feed(after);
        assert_same(&whole(&output), &late);
    }

    #[test]
    fn a_split_of_the_output_does_not_change_the_screen(output in soup(), sizes in vec(1..20_usize, 1..9)) {
        let mut screen = screen(COLS, ROWS);
        let mut rest = &output[..];

        for size in sizes.iter().cycle() {
            let (piece, more) = rest.split_at(rest.len().min(*size));
            screen.feed(piece);
            rest = more;

            if rest.is_empty() {
                break;
            }
        }

        assert_same(&whole(&output), &screen);
    }

    #[test]
    fn an_export_in_pieces_equals_the_snapshot(output in soup()) {
        let screen = whole(&output);
        let pieces: Vec<u8> = screen.export(ExportFormat::Ansi).flatten().collect();
        prop_assert_eq!(pieces, screen.snapshot(SCROLLBACK));
    }

    #[test]
    fn a_restored_screen_has_the_same_snapshot(output in soup()) {
        let snapshot = whole(&output).snapshot(SCROLLBACK);
        let again = whole(&snapshot).snapshot(SCROLLBACK);
        prop_assert_eq!(String::from_utf8_lossy(&snapshot), String::from_utf8_lossy(&again));
    }

    #[test]
    fn a_snapshot_replaces_the_previous_state_of_a_viewer(output in soup(), shown in soup()) {
        let original = whole(&output);
        let mut viewer = whole(&shown);
        viewer.feed(&original.snapshot(SCROLLBACK));
        // No sequence removes saved titles, so both screens get the same ten.
        viewer.feed(&b"\x1b[22;2t".repeat(10));
        let mut expected = restored(&original);
        expected.feed(&b"\x1b[22;2t".repeat(10));

        assert_same(&expected, &viewer);
    }

    #[test]
    fn a_snapshot_contains_no_query(output in soup()) {
        let mut viewer = restored(&whole(&output));
        prop_assert_eq!(viewer.take_answers(), b"");
    }

    #[test]
    fn the_history_in_a_snapshot_does_not_affect_the_screen(
        (output, cut) in cut_soup(),
        lines in 0..9_usize,
    ) {
        // Without the history, because the row of the saved cursor depends on it.
        let end = b"\x1b[3J\x1b7\x1b[?1049h\x1b[?1049l";
        let (before, after) = output.split_at(cut);
        let mut original = whole(before);
        let mut viewer = screen(COLS, ROWS);
        viewer.feed(&original.snapshot(lines));

        prop_assert_eq!(original.text(), viewer.text());
        for screen in [&mut original, &mut viewer] {
            screen.feed(b"\x18\x1b7");
            screen.feed(after);
            screen.feed(b"\x18");
            screen.feed(end);
        }

        prop_assert_eq!(original.text(), viewer.text());
    }
}
