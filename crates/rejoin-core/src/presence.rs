//! Presence: the members of a group, with a grace period before a member has left.

mod audience;
mod group;
mod members;

pub(crate) use audience::UserObserver;
pub use group::PresenceSubscription;
pub(crate) use group::{PresenceContext, PresenceGroup, PresenceGuard, empty_state};
pub(crate) use members::ChangeKind;
