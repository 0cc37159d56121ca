//! A terminal's screen from its bytes, and the exact snapshot of it.

mod grid;
mod parser;
mod screen;
mod snapshot;
mod terminal;
mod width;

pub use screen::{Screen, Size};

/// The width of every character, as JSON for the viewers' terminal.
///
/// `{"0":[[first,last],..],"2":[..]}`, ranges of code points; all others take
/// one column. A viewer with another table has other columns.
pub fn widths_json() -> String {
    width::json()
}
