//! A terminal's screen: what its bytes look like, and the bytes that look like it.

use std::fmt;

use rejoin_protocol::TerminalSize;

/// Makes screens.
pub trait Screens: fmt::Debug + Send + Sync {
    /// An empty screen that keeps so many lines of history.
    fn screen(&self, size: TerminalSize, scrollback_lines: usize) -> Box<dyn Screen>;
}

/// Interprets a terminal's output.
pub trait Screen: Send {
    /// Takes the next output, cut anywhere.
    fn feed(&mut self, output: &[u8]);
    /// Changes the size.
    fn resize(&mut self, size: TerminalSize);
    /// What the program calls itself; empty if it does not say.
    fn title(&self) -> &str;
    /// Answers to what the program asked since the last call, to be typed into it.
    fn take_answers(&mut self) -> Vec<u8>;
    /// Bytes that put an empty terminal of this size into this state.
    fn snapshot(&self, history_lines: usize) -> Vec<u8>;
    /// What is visible, a line for each row, without trailing blanks.
    fn text(&self) -> String;
    /// What is visible as a piece of HTML that runs nothing, whatever was printed.
    fn html(&self) -> String;
}
