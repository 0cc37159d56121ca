//! Presence: who is in one place, by device, with time to come back before somebody has left.

mod place;
mod settling;

use std::collections::HashMap;

use rejoin_protocol::{DeviceId, DeviceName, UserId, message::PresenceMember};
use tokio::time::{Duration, Instant};

pub use place::Following;
pub(crate) use place::{Place, Stay, Tools, nobody};
pub(crate) use settling::Settling;

/// A device of a user; a user's connections that name no device are one device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Member {
    pub(crate) user: UserId,
    pub(crate) device: Option<DeviceId>,
}

/// The members of one place. A plain value: it knows no clock, no lock and no listener.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// Each user's devices, sorted; most users have one or two.
    users: HashMap<UserId, Vec<Seat>>,
    seats: usize,
    connections: usize,
}

#[derive(Debug)]
struct Seat {
    device: Option<DeviceId>,
    name: Option<DeviceName>,
    connections: usize,
    /// When the last connection left; a member leaves when this is a grace period ago.
    left_at: Option<Instant>,
    /// Somebody will ask whether it was left: nobody else needs to.
    is_watched: bool,
}

/// A device that came, or has gone for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) kind: ChangeKind,
    pub(crate) member: Member,
    pub(crate) name: Option<DeviceName>,
    /// It is the user's first device, or was the last one.
    pub(crate) whole_user: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    Joined,
    Left,
}

/// What became of a seat that was left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Its member has gone.
    Left(Change),
    /// Somebody came back, and left again: ask at this time.
    AskAt(Instant),
    /// Somebody is there.
    Taken,
}

impl Room {
    /// One more connection of a member; the change if it is the member's first.
    pub(crate) fn enter(&mut self, member: &Member, name: Option<&DeviceName>) -> Option<Change> {
        self.connections += 1;
        let seats = self.users.entry(member.user.clone()).or_insert_with(|| Vec::with_capacity(1));
        match find(seats, member) {
            Ok(index) => {
                let seat = &mut seats[index];
                seat.connections += 1;
                seat.left_at = None;
                if name.is_some() {
                    seat.name = name.cloned();
                }
                None
            }
            Err(index) => {
                let device = member.device.clone();
                let name = name.cloned();
                let whole_user = seats.is_empty();
                let change =
                    Change { kind: ChangeKind::Joined, member: member.clone(), name, whole_user };
                let name = change.name.clone();
                let seat = Seat { device, name, connections: 1, left_at: None, is_watched: false };
                seats.insert(index, seat);
                self.seats += 1;
                Some(change)
            }
        }
    }

    /// One connection of a member less; whether somebody must ask after the grace period if
    /// the member has left.
    pub(crate) fn leave(&mut self, member: &Member, now: Instant) -> bool {
        let Some(seat) = self.seat(member) else { return false };
        seat.connections -= 1;
        let is_last = seat.connections == 0;
        let must_ask = is_last && !std::mem::replace(&mut seat.is_watched, is_last);
        if is_last {
            seat.left_at = Some(now);
        }
        self.connections -= 1;
        must_ask
    }

    /// Answers whoever was to ask about a member.
    pub(crate) fn settle(&mut self, member: &Member, now: Instant, grace: Duration) -> Settled {
        let Some(seat) = self.seat(member) else { return Settled::Taken };
        let Some(left_at) = seat.left_at else {
            seat.is_watched = false;
            return Settled::Taken;
        };
        if now < left_at + grace {
            return Settled::AskAt(left_at + grace);
        }
        let seats = self.users.get_mut(&member.user).expect("the seat was found");
        let seat = seats.remove(find(seats, member).expect("the seat was found"));
        self.seats -= 1;
        let whole_user = seats.is_empty();
        if whole_user {
            self.users.remove(&member.user);
        }
        if self.users.is_empty() {
            // An empty place holds no memory.
            self.users = HashMap::new();
        }
        let (kind, member, name) = (ChangeKind::Left, member.clone(), seat.name);
        Settled::Left(Change { kind, member, name, whole_user })
    }

    /// How many users are there. O(1).
    pub(crate) fn users(&self) -> usize {
        self.users.len()
    }

    /// How many connections are there. O(1).
    pub(crate) fn connections(&self) -> usize {
        self.connections
    }

    /// How many members are there. O(1).
    pub(crate) fn seats(&self) -> usize {
        self.seats
    }

    /// All members, sorted by user and device.
    pub(crate) fn members(&self) -> Vec<PresenceMember> {
        let seats =
            self.users.iter().flat_map(|(user, seats)| seats.iter().map(|seat| seat.present(user)));
        let mut members: Vec<_> = seats.collect();
        members.sort_unstable();
        members
    }

    /// The devices of one user that are there, and how many connections they have together.
    pub(crate) fn devices(&self, user: &UserId) -> (Vec<PresenceMember>, usize) {
        let seats = self.users.get(user).map_or(&[][..], Vec::as_slice);
        let connections = seats.iter().map(|seat| seat.connections).sum();
        (seats.iter().map(|seat| seat.present(user)).collect(), connections)
    }

    fn seat(&mut self, member: &Member) -> Option<&mut Seat> {
        let seats = self.users.get_mut(&member.user)?;
        let index = find(seats, member).ok()?;
        seats.get_mut(index)
    }
}

impl Seat {
    fn present(&self, user: &UserId) -> PresenceMember {
        PresenceMember {
            user: user.clone(),
            device: self.device.clone(),
            device_name: self.name.clone(),
            connections: Some(self.connections),
        }
    }
}

fn find(seats: &[Seat], member: &Member) -> Result<usize, usize> {
    seats.binary_search_by(|seat| seat.device.cmp(&member.device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_a_seat_that_is_left_again_and_again_one_question_is_asked() {
        let member = Member { user: UserId::new("ann").expect("a valid id"), device: None };
        let (mut room, grace) = (Room::default(), Duration::from_secs(10));
        let mut questions = 0;
        for _ in 0..100 {
            room.enter(&member, None);
            questions += usize::from(room.leave(&member, Instant::now()));
        }
        assert_eq!(questions, 1);
        room.enter(&member, None);
        assert_eq!(room.settle(&member, Instant::now(), grace), Settled::Taken);
        // Nobody asks any more, so the next time somebody must.
        assert!(room.leave(&member, Instant::now()));
        tokio::time::advance(grace).await;
        assert!(matches!(room.settle(&member, Instant::now(), grace), Settled::Left(_)));
        assert_eq!((room.users(), room.seats(), room.connections()), (0, 0, 0));
    }
}
