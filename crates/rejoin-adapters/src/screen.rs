//! Screens by the terminal engine of `rejoin-screen`.

use rejoin_core::{Screen, Screens};
use rejoin_protocol::TerminalSize;
use rejoin_screen::Size;

/// Makes screens that interpret what xterm does.
#[derive(Clone, Copy, Debug, Default)]
pub struct EngineScreens;

impl Screens for EngineScreens {
    fn screen(&self, size: TerminalSize, scrollback_lines: usize) -> Box<dyn Screen> {
        Box::new(EngineScreen(rejoin_screen::Screen::new(convert(size), scrollback_lines)))
    }
}

struct EngineScreen(rejoin_screen::Screen);

impl Screen for EngineScreen {
    fn feed(&mut self, output: &[u8]) {
        self.0.feed(output);
    }

    fn resize(&mut self, size: TerminalSize) {
        self.0.resize(convert(size));
    }

    fn title(&self) -> &str {
        self.0.title()
    }

    fn take_answers(&mut self) -> Vec<u8> {
        self.0.take_answers()
    }

    fn snapshot(&self, history_lines: usize) -> Vec<u8> {
        self.0.snapshot(history_lines)
    }

    fn text(&self) -> String {
        self.0.text()
    }

    fn html(&self) -> String {
        self.0.html()
    }
}

fn convert(size: TerminalSize) -> Size {
    Size { cols: size.cols(), rows: size.rows() }
}
