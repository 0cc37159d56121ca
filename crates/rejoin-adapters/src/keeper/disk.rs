//! The disk space of terminals: their logs and kept screens.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use rejoin_protocol::UserId;

/// Bounds the disk space of each user's terminals, and of all terminals. Space is reserved before
/// it is used.
#[derive(Debug)]
pub(super) struct DiskSpace {
    max_per_user: u64,
    max: u64,
    reserved: Mutex<Reserved>,
}

#[derive(Debug, Default)]
struct Reserved {
    total: u64,
    users: HashMap<UserId, u64>,
}

/// Reserved space, which is freed when dropped.
#[derive(Debug)]
pub(super) struct DiskShare {
    space: Arc<DiskSpace>,
    user: UserId,
    bytes: u64,
}

/// The bound that a reservation would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DiskFull {
    #[error(
        "your terminals take all of the {0} bytes of disk space that a user may have; close one \
         and try again"
    )]
    User(u64),
    #[error(
        "the terminals of all users take the {0} bytes of disk space that they may have together; \
         try again later"
    )]
    Total(u64),
}

impl DiskSpace {
    pub(super) fn new(max_per_user: u64, max: u64) -> Arc<Self> {
        Arc::new(Self { max_per_user, max, reserved: Mutex::default() })
    }

    /// Reserves space for a user.
    ///
    /// # Errors
    /// If the user, or all users together, would exceed the allowed space.
    pub(super) fn reserve(
        self: &Arc<Self>,
        user: &UserId,
        bytes: u64,
    ) -> Result<DiskShare, DiskFull> {
        let mut share = DiskShare { space: Arc::clone(self), user: user.clone(), bytes: 0 };
        share.grow(bytes)?;
        Ok(share)
    }

    /// Counts space that is already in use, even above the bounds.
    pub(super) fn count(self: &Arc<Self>, user: &UserId, bytes: u64) -> DiskShare {
        let mut reserved = self.reserved.lock();
        reserved.total += bytes;
        *reserved.users.entry(user.clone()).or_default() += bytes;
        DiskShare { space: Arc::clone(self), user: user.clone(), bytes }
    }
}

impl DiskShare {
    /// Reserves more space.
    ///
    /// # Errors
    /// Same as [`DiskSpace::reserve`]. The share is then unchanged.
    pub(super) fn grow(&mut self, bytes: u64) -> Result<(), DiskFull> {
        let space = &self.space;
        let mut reserved = space.reserved.lock();
        let of_user = reserved.users.get(&self.user).copied().unwrap_or_default() + bytes;
        if of_user > space.max_per_user {
            return Err(DiskFull::User(space.max_per_user));
        }
        if reserved.total + bytes > space.max {
            return Err(DiskFull::Total(space.max));
        }

        reserved.total += bytes;
        reserved.users.insert(self.user.clone(), of_user);
        self.bytes += bytes;
        Ok(())
    }

    /// Returns an empty share of the same user.
    pub(super) fn another(&self) -> Self {
        Self { space: Arc::clone(&self.space), user: self.user.clone(), bytes: 0 }
    }
}

impl Drop for DiskShare {
    fn drop(&mut self) {
        let mut reserved = self.space.reserved.lock();
        reserved.total -= self.bytes;
        // Users without terminals take no memory.
        if let Some(bytes) = reserved.users.get_mut(&self.user) {
            *bytes -= self.bytes;
            if *bytes == 0 {
                reserved.users.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_bounded_by_user_and_in_total() {
        let space = DiskSpace::new(10, 15);
        let (ann, bob) = (UserId::new("ann").unwrap(), UserId::new("bob").unwrap());
        let mut first = space.reserve(&ann, 6).unwrap();
        assert_eq!(space.reserve(&ann, 5).unwrap_err(), DiskFull::User(10));
        first.grow(4).unwrap();
        assert_eq!(first.grow(1).unwrap_err(), DiskFull::User(10));

        let second = space.reserve(&bob, 5).unwrap();
        assert_eq!(second.another().grow(1).unwrap_err(), DiskFull::Total(15));
        drop((first, second));
        assert!(space.reserved.lock().users.is_empty());
        assert_eq!(space.reserved.lock().total, 0);
        // Space of an earlier process is counted, also above the bounds.
        let _kept = space.count(&ann, 20);
        assert!(space.reserve(&ann, 1).is_err());
    }
}
