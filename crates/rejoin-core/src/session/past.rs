//! The state of an earlier process that a session continues.

use tokio::sync::oneshot;

use crate::backend::{InputKey, SavedScreen};

/// The state that a session continues.
pub(crate) struct Past {
    /// The offset at which the terminal's events begin.
    pub(crate) offset: u64,
    pub(crate) screen: Option<SavedScreen>,
    pub(crate) writers: Vec<InputKey>,
    /// Receives the moment from which the session may be attached to.
    pub(crate) replayed: oneshot::Sender<()>,
}
