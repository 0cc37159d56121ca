//! The outside world behind the traits of `rejoin-core`.

mod screen;
mod terminal;

pub use screen::EngineScreens;
pub use terminal::LocalTerminals;
