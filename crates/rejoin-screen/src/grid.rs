//! The storage of a terminal: cells, rows, the two buffers and the history.

pub(crate) mod buffer;
pub(crate) mod cell;
pub(crate) mod extras;
pub(crate) mod history;
pub(crate) mod reflow;
pub(crate) mod row;
