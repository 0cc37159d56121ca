//! The screen of a terminal, and the bytes that reproduce it.

use std::fmt;

use rejoin_protocol::{TerminalSize, message::HistoryRange};

/// Creates screens.
pub trait Screens: fmt::Debug + Send + Sync {
    /// Creates an empty screen that retains history up to `scrollback`.
    fn screen(&self, size: TerminalSize, scrollback: Scrollback) -> Box<dyn Screen>;
}

/// The history that a terminal retains. Above either bound the oldest lines are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scrollback {
    /// The maximum number of lines.
    pub lines: usize,
    /// The maximum memory of the lines, in bytes.
    pub bytes: usize,
}

/// The format of an exported screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScreenFormat {
    /// The visible rows, one line each, without trailing blanks.
    Text,
    /// Bytes that bring an empty terminal into the same state, history included.
    Ansi,
    /// The visible rows as an HTML fragment that executes nothing, whatever was printed.
    Html,
}

/// Bytes that bring an empty terminal into a state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScreenSnapshot {
    /// The bytes, for a terminal of the screen's size.
    pub bytes: Vec<u8>,
    /// The lines above the screen, which the bytes do not draw.
    pub history: HistoryRange,
}

/// Consecutive lines above a screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScreenLines {
    /// All lines above the screen.
    pub range: HistoryRange,
    /// The number of the first line.
    pub from: u64,
    /// The number after the last line.
    pub to: u64,
    /// `true` if the first row continues the line before.
    pub continues: bool,
    /// The bytes that draw the lines on an empty terminal of the screen's width.
    pub data: String,
}

/// The pieces of an exported screen, in order. Each is computed on demand.
pub type ScreenPieces = Box<dyn Iterator<Item = Vec<u8>> + Send>;

/// Interprets a terminal's output.
pub trait Screen: Send {
    /// Interprets output, cut anywhere, for well below a millisecond.
    ///
    /// Returns the rest for the next step; `None` if nothing is left to do. The rest may be empty
    /// and still need a step. Until `None`, only the title is up to date.
    fn step<'a>(&mut self, output: &'a [u8]) -> Option<&'a [u8]>;

    /// Starts to change the size. The next calls of [`step`](Self::step) finish it.
    fn resize(&mut self, size: TerminalSize);

    /// Returns the title that the program has set; empty if none.
    fn title(&self) -> &str;

    /// Returns the answers to the program's queries since the last call, to be typed into it.
    fn take_answers(&mut self) -> Vec<u8>;

    /// Returns the visible screen in at most `max_bytes`, without the lines above it.
    fn snapshot(&self, max_bytes: usize) -> ScreenSnapshot;

    /// Returns the newest lines above the screen before the line `before`.
    ///
    /// They are at most `max_lines`, and drawn in at most `max_bytes`. A line keeps its number
    /// until a change of columns.
    fn history(&self, before: u64, max_lines: usize, max_bytes: usize) -> ScreenLines;

    /// Exports the screen as it is now. Later output does not change the pieces.
    fn export(&self, format: ScreenFormat) -> ScreenPieces;
}
