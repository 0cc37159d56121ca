//! What is outside: terminals and screens, as traits with in-memory implementations.

mod memory;
mod screen;
mod terminal;

use std::{future::Future, pin::Pin};

pub use memory::{MemoryScreens, MemoryTerminal, MemoryTerminals};
pub use screen::{Screen, ScreenFormat, ScreenPieces, ScreenSnapshot, Screens, Scrollback};
pub use terminal::{Control, Launch, LiveTerminal, StartError, TerminalEvent, Terminals};

/// A boxed future, for traits that are used as objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
