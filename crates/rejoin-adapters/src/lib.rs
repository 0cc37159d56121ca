//! Implementations of the backend traits of `rejoin-core`.
//!
//! [`KeeperTerminals`] runs programs in keepers, which outlive the server, and [`LocalTerminals`] on
//! PTYs of this process. [`EngineScreens`] follows their output, [`FileJournal`] keeps messages and
//! positions for the next process, and [`SqlStore`] the states of sessions.

mod journal;
mod keeper;
mod program;
mod screen;
mod store;
mod terminal;

pub use journal::FileJournal;
pub use keeper::{KeeperCommand, KeeperStorage, KeeperTerminals};
pub use screen::EngineScreens;
pub use store::{SessionArchive, SqlStore, StoreLocation};
pub use terminal::{LocalTerminals, TerminalLimits};
