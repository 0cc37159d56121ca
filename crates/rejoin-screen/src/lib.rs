//! The screen of a terminal: output in, exact snapshots out.
//!
//! [`Screen`] interprets the output of a program. After any byte it can write a snapshot: the bytes
//! that bring a new terminal to the same state, including state that only later output reveals. It
//! also answers the program's queries, so programs work without an attached viewer.
//!
//! A *viewer* is a terminal that displays the screen: xterm.js. The tests in `xterm/` compare the
//! two. Like xterm.js, the crate does not support images, left and right margins, or double-size
//! lines.

mod charsets;
mod grid;
mod html;
mod parser;
mod screen;
mod sgr;
mod snapshot;
mod terminal;
mod width;

pub use screen::{
    BoundedSnapshot, Export, ExportFormat, HistoryPage, HistoryRange, Screen, ScreenSize,
    ScrollbackLimits,
};

/// Returns the widths of all characters as JSON: `{"0":[[first,last],..],"2":[..]}`.
///
/// The ranges contain code points. All other characters are one column wide. Viewers must use the
/// same table, because otherwise their columns differ from the screen's.
pub fn widths_json() -> String {
    width::json()
}
