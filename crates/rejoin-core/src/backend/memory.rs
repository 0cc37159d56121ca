//! Terminals and screens in memory: a test is the program that runs in them.

use std::sync::Arc;

use parking_lot::Mutex;
use rejoin_protocol::TerminalSize;
use tokio::sync::{mpsc, watch};

use crate::backend::{
    BoxFuture, Control, Launch, LiveTerminal, Screen, ScreenFormat, ScreenPieces, ScreenSnapshot,
    Screens, Scrollback, StartError, TerminalEvent, Terminals,
};

const QUEUE: usize = 64;

/// Terminals whose programs are played by whoever takes them.
#[derive(Debug)]
pub struct MemoryTerminals {
    started_tx: mpsc::Sender<MemoryTerminal>,
    /// Taken by the one who plays the programs.
    started_rx: Mutex<Option<mpsc::Receiver<MemoryTerminal>>>,
}

/// The program's side of a terminal in memory.
#[derive(Debug)]
pub struct MemoryTerminal {
    /// What it was started with.
    pub launch: Launch,
    /// What it says.
    pub events: mpsc::Sender<TerminalEvent>,
    /// What it is told.
    pub controls: mpsc::Receiver<Control>,
    /// Whether it is hung up.
    pub hangup: watch::Receiver<bool>,
    /// Which input it has read.
    pub written: watch::Sender<u64>,
}

impl MemoryTerminals {
    /// Terminals without any program yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let (started_tx, started_rx) = mpsc::channel(QUEUE);
        Arc::new(Self { started_tx, started_rx: Mutex::new(Some(started_rx)) })
    }

    /// The programs as they are started; `None` if somebody has taken them.
    #[must_use]
    pub fn started(&self) -> Option<mpsc::Receiver<MemoryTerminal>> {
        self.started_rx.lock().take()
    }
}

impl MemoryTerminal {
    /// Completes when it is hung up. Cancel safe: yes.
    pub async fn hung_up(&mut self) {
        // An error means that the session is gone.
        let _ = self.hangup.wait_for(|hung_up| *hung_up).await;
    }
}

impl Terminals for MemoryTerminals {
    fn start(&self, launch: Launch) -> BoxFuture<'_, Result<LiveTerminal, StartError>> {
        let (events_tx, events) = mpsc::channel(QUEUE);
        let (controls, controls_rx) = mpsc::channel(QUEUE);
        let (hangup, hangup_rx) = watch::channel(false);
        let (written_tx, written) = watch::channel(0);
        let program = MemoryTerminal {
            launch,
            events: events_tx,
            controls: controls_rx,
            hangup: hangup_rx,
            written: written_tx,
        };
        Box::pin(async move {
            let refused = |_| StartError("nobody plays the programs".to_owned());
            self.started_tx.send(program).await.map_err(refused)?;
            Ok(LiveTerminal { events, controls, hangup, written })
        })
    }
}

/// Screens that remember all bytes: the snapshot is what was ever printed.
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
        ScreenSnapshot { bytes: self.bytes.clone(), history_omitted: 0 }
    }

    fn export(&self, format: ScreenFormat) -> ScreenPieces {
        let text = || String::from_utf8_lossy(&self.bytes).into_owned();
        let piece = match format {
            ScreenFormat::Ansi => self.bytes.clone(),
            ScreenFormat::Text => text().into(),
            ScreenFormat::Html => {
                let text = text().replace('&', "&amp;").replace('<', "&lt;");
                format!("<pre>{text}</pre>").into()
            }
        };
        Box::new(std::iter::once(piece))
    }
}
