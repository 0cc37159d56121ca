//! The members of a group: a plain value without a clock, a lock or subscribers.

use std::collections::HashMap;

use rejoin_protocol::{DeviceId, DeviceName, UserId, message::PresenceMember};
use tokio::time::{Duration, Instant};

use crate::connection::Connection;

/// The id of a member: a device of a user. Connections without a device share one member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct MemberId {
    pub(super) user: UserId,
    pub(super) device: Option<DeviceId>,
}

impl MemberId {
    pub(super) fn of(connection: &Connection) -> Self {
        Self { user: connection.user().clone(), device: connection.device().id.clone() }
    }
}

/// The members of a group.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// The members of each user, sorted by device. Most users have one or two.
    users: HashMap<UserId, Vec<Member>>,
    count: usize,
    connections: usize,
}

#[derive(Debug)]
struct Member {
    device: Option<DeviceId>,
    name: Option<DeviceName>,
    connections: usize,
    /// The end of the last connection. One grace period later the member has left.
    left_at: Option<Instant>,
    /// A grace timer is already queued.
    has_timer: bool,
}

/// A member that joined or left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) kind: ChangeKind,
    pub(super) member: MemberId,
    pub(super) name: Option<DeviceName>,
    /// The member is the user's first, or was the last one.
    pub(super) whole_user: bool,
}

/// The direction of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    Joined,
    Left,
}

/// The result of an expired grace timer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum GraceCheck {
    /// The member has left.
    Left(Change),
    /// The member reconnected and disconnected again: check again at this time.
    Again(Instant),
    /// The member is connected.
    Present,
}

impl Members {
    /// Adds a connection of a member. Returns the change if it is the member's first.
    pub(super) fn enter(&mut self, id: &MemberId, name: Option<&DeviceName>) -> Option<Change> {
        self.connections += 1;
        let members = self.users.entry(id.user.clone()).or_insert_with(|| Vec::with_capacity(1));

        let index = match find(members, id) {
            Ok(index) => {
                let member = &mut members[index];
                member.connections += 1;
                member.left_at = None;
                // A connection without a name does not remove the name of another one.
                if name.is_some() {
                    member.name = name.cloned();
                }
                return None;
            }
            Err(index) => index,
        };

        let whole_user = members.is_empty();
        let (device, name) = (id.device.clone(), name.cloned());
        let member =
            Member { device, name: name.clone(), connections: 1, left_at: None, has_timer: false };
        members.insert(index, member);
        self.count += 1;
        Some(Change { kind: ChangeKind::Joined, member: id.clone(), name, whole_user })
    }

    /// Removes a connection of a member. Returns `true` if the caller must start a grace timer.
    pub(super) fn leave(&mut self, id: &MemberId, now: Instant) -> bool {
        let Some(member) = self.member(id) else { return false };
        member.connections -= 1;
        let is_last = member.connections == 0;

        // A member that reconnects again and again has one timer, not one for each disconnect.
        let needs_timer = is_last && !std::mem::replace(&mut member.has_timer, is_last);
        if is_last {
            member.left_at = Some(now);
        }

        self.connections -= 1;
        needs_timer
    }

    /// Handles an expired grace timer: removes the member if the grace period is over.
    pub(super) fn check(&mut self, id: &MemberId, now: Instant, grace: Duration) -> GraceCheck {
        let Some(member) = self.member(id) else { return GraceCheck::Present };

        // The member has reconnected. Its next disconnect starts a new timer.
        let Some(left_at) = member.left_at else {
            member.has_timer = false;
            return GraceCheck::Present;
        };

        if now < left_at + grace {
            return GraceCheck::Again(left_at + grace);
        }

        let members = self.users.get_mut(&id.user).expect("the member was found");
        let member = members.remove(find(members, id).expect("the member was found"));
        self.count -= 1;
        let whole_user = members.is_empty();
        if whole_user {
            self.users.remove(&id.user);
        }

        if self.users.is_empty() {
            // Removing entries keeps the capacity: an empty group should hold no memory.
            self.users = HashMap::new();
        }

        let (kind, name) = (ChangeKind::Left, member.name);
        GraceCheck::Left(Change { kind, member: id.clone(), name, whole_user })
    }

    /// Returns the number of users. O(1).
    pub(super) fn users(&self) -> usize {
        self.users.len()
    }

    /// Returns the number of connections. O(1).
    pub(super) fn connections(&self) -> usize {
        self.connections
    }

    /// Returns the number of members. O(1).
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Returns all members, sorted by user and device.
    pub(super) fn list(&self) -> Vec<PresenceMember> {
        let members = self
            .users
            .iter()
            .flat_map(|(user, members)| members.iter().map(|member| member.present(user)));
        let mut members: Vec<_> = members.collect();
        members.sort_unstable();
        members
    }

    /// Returns the devices of one user, and the number of their connections.
    pub(super) fn devices(&self, user: &UserId) -> (Vec<PresenceMember>, usize) {
        let members = self.users.get(user).map_or(&[][..], Vec::as_slice);
        let connections = members.iter().map(|member| member.connections).sum();
        (members.iter().map(|member| member.present(user)).collect(), connections)
    }

    fn member(&mut self, id: &MemberId) -> Option<&mut Member> {
        let members = self.users.get_mut(&id.user)?;
        let index = find(members, id).ok()?;
        members.get_mut(index)
    }
}

impl Member {
    fn present(&self, user: &UserId) -> PresenceMember {
        PresenceMember {
            user: user.clone(),
            device: self.device.clone(),
            device_name: self.name.clone(),
            connections: Some(self.connections),
        }
    }
}

fn find(members: &[Member], id: &MemberId) -> Result<usize, usize> {
    members.binary_search_by(|member| member.device.cmp(&id.device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_member_that_reconnects_again_and_again_has_one_timer() {
        let id = MemberId { user: UserId::new("ann").expect("a valid id"), device: None };
        let (mut members, grace) = (Members::default(), Duration::from_secs(10));

        let mut timers = 0;
        for _ in 0..100 {
            members.enter(&id, None);
            timers += usize::from(members.leave(&id, Instant::now()));
        }

        assert_eq!(timers, 1);

        // The timer expires while the member is connected, so the next disconnect starts one.
        members.enter(&id, None);
        assert_eq!(members.check(&id, Instant::now(), grace), GraceCheck::Present);
        assert!(members.leave(&id, Instant::now()));

        tokio::time::advance(grace).await;
        assert!(matches!(members.check(&id, Instant::now(), grace), GraceCheck::Left(_)));
        assert_eq!((members.users(), members.count(), members.connections()), (0, 0, 0));
    }
}
