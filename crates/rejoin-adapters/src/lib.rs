//! Implementations of the backend traits of `rejoin-core`.
//!
//! [`LocalTerminals`] runs programs on PTYs, [`EngineScreens`] follows their output, and
//! [`CheckpointFile`] keeps the hub's state across a restart.

mod checkpoint;
mod screen;
mod terminal;

pub use checkpoint::CheckpointFile;
pub use screen::EngineScreens;
pub use terminal::{LocalTerminals, TerminalLimits};
