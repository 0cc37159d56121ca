//! A terminal's screen: what its bytes look like, and the bytes that look like it.

use std::fmt;

use rejoin_protocol::TerminalSize;

/// Makes screens.
pub trait Screens: fmt::Debug + Send + Sync {
    /// An empty screen that keeps so much history.
    fn screen(&self, size: TerminalSize, scrollback: Scrollback) -> Box<dyn Screen>;
}

/// The most history that a terminal keeps; what exceeds either bound is dropped from the old end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scrollback {
    /// Lines.
    pub lines: usize,
    /// Memory of the lines as the screen keeps them.
    pub bytes: usize,
}

/// How a screen is written for those who do not attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScreenFormat {
    /// What is visible, a line for each row, without trailing blanks.
    Text,
    /// Bytes that bring an empty terminal into the same state, history included.
    Ansi,
    /// What is visible as a piece of HTML that runs nothing, whatever was printed.
    Html,
}

/// The bytes that put an empty terminal into a state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScreenSnapshot {
    /// For a terminal of the screen's size.
    pub bytes: Vec<u8>,
    /// Lines of the history, the oldest ones, that are not in them.
    pub history_omitted: usize,
}

/// The pieces of a written screen, in order, each made when it is asked for.
pub type ScreenPieces = Box<dyn Iterator<Item = Vec<u8>> + Send>;

/// Interprets a terminal's output.
pub trait Screen: Send {
    /// Interprets output, cut anywhere, for well below a millisecond.
    ///
    /// Returns what is left for the next step, which may be needed even for no bytes; `None` when
    /// all is done. Until then only the title is known.
    fn step<'a>(&mut self, output: &'a [u8]) -> Option<&'a [u8]>;
    /// Begins to change the size; the next steps do the rest.
    fn resize(&mut self, size: TerminalSize);
    /// What the program calls itself; empty if it does not say.
    fn title(&self) -> &str;
    /// Answers to what the program asked since the last call, to be typed into it.
    fn take_answers(&mut self) -> Vec<u8>;
    /// The visible screen, and as much of the newest history as fits into `max_bytes`.
    fn snapshot(&self, max_bytes: usize) -> ScreenSnapshot;
    /// Writes the screen as it is now, whatever is interpreted meanwhile.
    fn export(&self, format: ScreenFormat) -> ScreenPieces;
}
