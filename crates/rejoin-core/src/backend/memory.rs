//! Terminals and screens in memory. A test plays the program that runs in them.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use rejoin_protocol::TerminalSize;
use tokio::sync::{mpsc, watch};

use crate::backend::{
    Control, Launch, LiveTerminal, Screen, ScreenFormat, ScreenLines, ScreenPieces, ScreenSnapshot,
    Screens, Scrollback, StartError, TerminalEnds, TerminalEvent, Terminals,
};

use crate::lock::{Mutex, level::LEAF};

/// Events, controls and started terminals that each of the queues holds.
const QUEUE: usize = 64;

/// Terminals whose programs are played by the receiver of [`started`](Self::started).
#[derive(Debug)]
pub struct MemoryTerminals {
    started_tx: mpsc::Sender<MemoryTerminal>,
    /// `None` once [`started`](Self::started) was called.
    started_rx: Mutex<Option<mpsc::Receiver<MemoryTerminal>>, LEAF>,
}

/// The program's side of a terminal in memory.
#[derive(Debug)]
pub struct MemoryTerminal {
    /// The parameters of the start.
    pub launch: Launch,
    /// The program's output and exit.
    pub events: mpsc::Sender<TerminalEvent>,
    /// The input, the sizes and the signals for the program.
    pub controls: mpsc::Receiver<Control>,
    /// `true` once the terminal is hung up.
    pub hangup: watch::Receiver<bool>,
    /// The number of the last input that the program has read.
    pub written: watch::Sender<u64>,
}

impl MemoryTerminals {
    /// Creates terminals without a program.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let (started_tx, started_rx) = mpsc::channel(QUEUE);
        Arc::new(Self { started_tx, started_rx: Mutex::new(Some(started_rx)) })
    }

    /// Returns the terminals as they start; `None` after the first call.
    #[must_use]
    pub fn started(&self) -> Option<mpsc::Receiver<MemoryTerminal>> {
        self.started_rx.lock().take()
    }
}

impl MemoryTerminal {
    /// Waits until the terminal is hung up. Cancel safe.
    pub async fn hung_up(&mut self) {
        // An error means that the session was dropped, which hangs up as well.
        let _ = self.hangup.wait_for(|hung_up| *hung_up).await;
    }
}

impl Terminals for MemoryTerminals {
    fn start(&self, launch: Launch) -> BoxFuture<'_, Result<LiveTerminal, StartError>> {
        let (live, TerminalEnds { events, controls, hangup, written }) =
            LiveTerminal::new(QUEUE, QUEUE);
        let program = MemoryTerminal { launch, events, controls, hangup, written };

        // The receiver owns the program from here on.
        Box::pin(async move {
            let refused =
                |_| StartError("no test plays the programs of these terminals".to_owned());
            self.started_tx.send(program).await.map_err(refused)?;
            Ok(live)
        })
    }
}

/// Screens that retain all output: a snapshot is everything that was ever printed.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryScreens;

struct MemoryScreen {
    bytes: Vec<u8>,
}

impl Screens for MemoryScreens {
    fn screen(&self, _size: TerminalSize, _scrollback: Scrollback) -> Box<dyn Screen> {
        Box::new(MemoryScreen { bytes: Vec::new() })
    }
}

impl Screen for MemoryScreen {
    fn step<'a>(&mut self, output: &'a [u8]) -> Option<&'a [u8]> {
        self.bytes.extend_from_slice(output);
        None
    }

    fn resize(&mut self, _size: TerminalSize) {}

    fn title(&self) -> &'static str {
        ""
    }

    fn take_answers(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn snapshot(&self, _max_bytes: usize) -> ScreenSnapshot {
        ScreenSnapshot { bytes: self.bytes.clone(), ..ScreenSnapshot::default() }
    }

    fn history(&self, _before: u64, _max_lines: usize, _max_bytes: usize) -> ScreenLines {
        ScreenLines::default()
    }

    fn export(&self, format: ScreenFormat) -> ScreenPieces {
        let text = || String::from_utf8_lossy(&self.bytes).into_owned();
        let piece = match format {
            ScreenFormat::Ansi => self.bytes.clone(),
            ScreenFormat::Text => text().into(),
            ScreenFormat::Html => {
                // The minimum that keeps printed text from becoming markup.
                let text = text().replace('&', "&amp;").replace('<', "&lt;");
                format!("<pre>{text}</pre>").into()
            }
        };

        Box::new(std::iter::once(piece))
    }
}
