//! The backends of core: terminals and screens, as traits with in-memory implementations.

mod memory;
mod recovery;
mod screen;
mod terminal;

pub use memory::{MemoryScreens, MemoryTerminal, MemoryTerminals};
pub use recovery::{
    InputKey, RecoveredTerminal, Recovery, SavedScreen, ScreenCheckpoint, SessionRecord,
};
pub use screen::{
    Screen, ScreenFormat, ScreenLines, ScreenPieces, ScreenSnapshot, Screens, Scrollback,
};
pub use terminal::{Control, Launch, LiveTerminal, StartError, TerminalEvent, Terminals};
