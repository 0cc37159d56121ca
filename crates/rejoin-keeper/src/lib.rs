//! A keeper: a process that holds one terminal's PTY, so that the terminal outlives the server.
//!
//! The keeper is the parent of the program. It appends everything that happens to a log on disk,
//! and serves one client at a time, the server, over a Unix socket. It has no async runtime, no
//! terminal emulator and no database: just one thread with one `poll(2)` loop.
//!
//! ```text
//!  program ── PTY ── keeper ──► log (segment files, with a quota)
//!                      │ ▲
//!               output │ │ numbered input, resizes, signals
//!                      ▼ │
//!              server (may be absent, crash, or be replaced by another version)
//! ```
//!
//! - [`wire`]: the messages between keeper and server.
//! - [`log`]: the log and its reader.
//! - [`launch`]: the program to start, and the start of a keeper.
//! - [`run`]: the keeper itself.

mod child;
mod client;
mod descriptors;
mod directory;
mod group;
mod input;
mod keeper;
pub mod launch;
pub mod log;
mod session;
mod stop;
pub mod wire;

pub use directory::{Directory, check_private};
pub use group::{LimitedGroups, Limits, LimitsError};
pub use keeper::run;
