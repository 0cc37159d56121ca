//! Implementations of the backend traits of `rejoin-core`.
//!
//! [`KeeperTerminals`] runs programs in keepers, which outlive the server, and [`LocalTerminals`] on
//! PTYs of this process. [`EngineScreens`] follows their output, and [`CheckpointFile`] keeps the
//! hub's state across a restart.

mod checkpoint;
mod keeper;
mod program;
mod screen;
mod terminal;

pub use checkpoint::CheckpointFile;
pub use keeper::{KeeperCommand, KeeperStorage, KeeperTerminals};
pub use screen::EngineScreens;
pub use terminal::{LocalTerminals, TerminalLimits};
