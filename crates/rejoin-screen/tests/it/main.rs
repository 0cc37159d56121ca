//! The promise of the screen: exact snapshots, after any byte and at any split.

mod answers;
mod cases;
mod history;
mod html;
mod keyboard;
mod limits;
mod properties;
mod resize;

use rejoin_screen::{Screen, ScreenSize};

const SCROLLBACK: usize = 100;

fn screen(cols: u16, rows: u16) -> Screen {
    Screen::new(ScreenSize { cols, rows }, SCROLLBACK)
}

fn fed(cols: u16, rows: u16, output: &[u8]) -> Screen {
    let mut screen = screen(cols, rows);
    screen.feed(output);
    screen
}

/// Returns a new screen of the same size, restored from a snapshot with the complete history.
fn restored(original: &Screen) -> Screen {
    let mut restored = Screen::new(original.size(), SCROLLBACK);
    restored.feed(&original.snapshot(SCROLLBACK));
    restored
}

#[test]
fn a_screen_may_be_sent_to_another_task() {
    fn sendable<T: Send + 'static>(_: &T) {}
    sendable(&screen(80, 24));
}

#[track_caller]
fn assert_same(one: &Screen, two: &Screen) {
    assert!(one == two, "the screens differ:\n{one:?}\n{two:?}");
}
