//! The parts of a hub that its sessions use.

use std::{fmt, sync::Arc};

use crate::{
    frame::Prepare,
    gate::Gate,
    presence::PresenceContext,
    session::{CheckpointSlots, LifetimeContext, ScreenThreads, Session},
    shutdown::Shutdown,
};

/// Receives the changes of sessions.
///
/// The methods that record are called with locks held: they must not block or call the session.
pub(crate) trait SessionObserver: fmt::Debug + Send + Sync {
    /// Records that session lists must be updated.
    fn record_change(&self, session: &Session);

    /// Records that the last connection has left.
    fn record_left(&self, session: &Session);

    /// Records that the program has ended.
    fn record_ended(&self, session: &Session);

    /// Delivers the recorded events. Called with no lock held.
    fn deliver(&self);
}

/// The parts of a hub that its sessions use.
#[derive(Clone, Debug)]
pub(crate) struct SessionContext {
    pub(crate) presence: Arc<PresenceContext>,
    pub(crate) observer: Arc<dyn SessionObserver>,
    /// Computes the other encodings of snapshots.
    pub(crate) prepare: Prepare,
    pub(crate) threads: ScreenThreads,
    pub(crate) checkpoints: CheckpointSlots,
    pub(crate) shutdown: Shutdown,
    pub(crate) gate: Gate,
    pub(crate) lifetime: LifetimeContext,
}
