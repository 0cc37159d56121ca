//! Real programs on a PTY, and other terminal engines, for the comparison with xterm.js.

pub mod program;
pub mod recording;
