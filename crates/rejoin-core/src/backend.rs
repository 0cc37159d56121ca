//! The backends of core: terminals, screens, the store and the journal, as traits with in-memory
//! implementations.

mod journal;
mod memory;
mod memory_store;
mod record;
mod screen;
mod store;
mod terminal;

pub use journal::{
    EpochClock, Eviction, Journal, JournalMessage, JournalRecord, JournalRecords, MemoryJournal,
    StoredKey, StreamOwner,
};
pub use memory::{MemoryScreens, MemoryTerminal, MemoryTerminals};
pub use memory_store::MemoryStore;
pub use record::{InputKey, SavedScreen, ScreenCheckpoint, SessionRecord};
pub use screen::{
    Screen, ScreenFormat, ScreenLines, ScreenPieces, ScreenSnapshot, Screens, Scrollback,
};
pub use store::{
    Change, EVENTS_PER_SESSION, EventKind, RowStatus, SessionEvent, SessionRow, Store, StoreError,
    StoredDeadline,
};
pub use terminal::{
    Control, Launch, LiveTerminal, RecoveredTerminal, Recovery, StartError, TerminalEnds,
    TerminalEvent, Terminals,
};
