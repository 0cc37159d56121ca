//! Screens backed by `rejoin-screen`.

use rejoin_core::{
    Screen, ScreenFormat, ScreenLines, ScreenPieces, ScreenSnapshot, Screens, Scrollback,
};
use rejoin_protocol::{TerminalSize, message::HistoryRange};
use rejoin_screen::{ExportFormat, ScreenSize};

/// Creates screens that interpret output like xterm.js.
#[derive(Clone, Copy, Debug, Default)]
pub struct EngineScreens;

impl Screens for EngineScreens {
    fn screen(&self, size: TerminalSize, scrollback: Scrollback) -> Box<dyn Screen> {
        let Scrollback { lines, bytes } = scrollback;
        let scrollback = rejoin_screen::ScrollbackLimits { lines, bytes };
        Box::new(EngineScreen(rejoin_screen::Screen::with_scrollback(convert(size), scrollback)))
    }
}

struct EngineScreen(rejoin_screen::Screen);

impl Screen for EngineScreen {
    fn step<'a>(&mut self, output: &'a [u8]) -> Option<&'a [u8]> {
        self.0.step(output)
    }

    fn resize(&mut self, size: TerminalSize) {
        self.0.begin_resize(convert(size));
    }

    fn title(&self) -> &str {
        self.0.title()
    }

    fn take_answers(&mut self) -> Vec<u8> {
        self.0.take_answers()
    }

    fn snapshot(&self, max_bytes: usize) -> ScreenSnapshot {
        let bytes = self.0.snapshot_within(0, max_bytes).bytes;
        ScreenSnapshot { bytes, history: range(self.0.history()) }
    }

    fn history(&self, before: u64, max_lines: usize, max_bytes: usize) -> ScreenLines {
        let page = self.0.history_page(before, max_lines, max_bytes);
        let rejoin_screen::HistoryPage { range: all, from, to, continues, data } = page;
        ScreenLines { range: range(all), from, to, continues, data }
    }

    fn export(&self, format: ScreenFormat) -> ScreenPieces {
        let format = match format {
            ScreenFormat::Text => ExportFormat::Text,
            ScreenFormat::Ansi => ExportFormat::Ansi,
            ScreenFormat::Html => ExportFormat::Html,
        };
        Box::new(self.0.export(format))
    }
}

fn convert(size: TerminalSize) -> ScreenSize {
    ScreenSize { cols: size.cols(), rows: size.rows() }
}

fn range(range: rejoin_screen::HistoryRange) -> HistoryRange {
    let rejoin_screen::HistoryRange { generation, first, end } = range;
    HistoryRange { generation, first, end }
}
