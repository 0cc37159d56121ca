//! A terminal's screen from its bytes, and the exact snapshot of it.
//!
//! [`Screen`] follows the output of a program and writes, at any byte of it, what
//! a fresh terminal must be sent to show the same and to go on alike. It answers
//! the program's queries, so that nobody needs to be attached.
//!
//! What it does not do: images, left and right margins, lines of double size,
//! national character sets. The viewers' terminal, xterm.js, has none of them
//! but the last, and the two are compared in `xterm/`.

mod grid;
mod html;
mod parser;
mod screen;
mod snapshot;
mod terminal;
mod width;

pub use screen::{BoundedSnapshot, Export, ExportFormat, Screen, ScreenSize, ScrollbackLimits};

/// The width of every character, as JSON for the viewers' terminal.
///
/// `{"0":[[first,last],..],"2":[..]}`, ranges of code points; all others take
/// one column. A viewer with another table has other columns.
pub fn widths_json() -> String {
    width::json()
}
