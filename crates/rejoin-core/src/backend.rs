//! The backends of core: terminals and screens, as traits with in-memory implementations.

mod memory;
mod record;
mod screen;
mod terminal;

pub use memory::{MemoryScreens, MemoryTerminal, MemoryTerminals};
pub use record::{InputKey, SavedScreen, ScreenCheckpoint, SessionRecord};
pub use screen::{
    Screen, ScreenFormat, ScreenLines, ScreenPieces, ScreenSnapshot, Screens, Scrollback,
};
pub use terminal::{
    Control, Launch, LiveTerminal, RecoveredTerminal, Recovery, StartError, TerminalEnds,
    TerminalEvent, Terminals,
};
