//! The outside world behind the traits of `rejoin-core`.

mod checkpoint;
mod screen;
mod terminal;

pub use checkpoint::CheckpointFile;
pub use screen::EngineScreens;
pub use terminal::{LocalTerminals, TerminalLimits};
