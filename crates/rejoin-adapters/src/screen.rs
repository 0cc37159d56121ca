//! Screens backed by `rejoin-screen`.

use rejoin_core::{Screen, ScreenFormat, ScreenPieces, ScreenSnapshot, Screens, Scrollback};
use rejoin_protocol::TerminalSize;
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
        let rejoin_screen::BoundedSnapshot { bytes, history_omitted } =
            self.0.snapshot_within(max_bytes);
        ScreenSnapshot { bytes, history_omitted }
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
