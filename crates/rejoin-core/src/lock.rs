//! Locks with a level. Debug builds check that each thread takes them in ascending order.

use std::ops::{Deref, DerefMut};

/// The levels. A thread takes a lock only above all levels that it holds.
///
/// So two locks of one level are never held together, and no two threads wait for each other.
pub(crate) mod level {
    /// A map of the hub: topics, sessions, implicit streams.
    pub(crate) const HUB_MAP: u8 = 0;
    pub(crate) const CONNECTION_REGISTRY: u8 = 1;
    pub(crate) const SESSION: u8 = 2;
    pub(crate) const PRESENCE_GROUP: u8 = 3;
    /// The budgets by user. Taken while a stream is created.
    pub(crate) const BUDGETS: u8 = 4;
    pub(crate) const STREAM: u8 = 5;
    /// An outbox. An I/O thread's inbox is locked after its release.
    pub(crate) const OUTBOX: u8 = 6;
    /// A lock below which no other one is taken.
    pub(crate) const LEAF: u8 = 7;
}

/// A mutex of a level.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T, const LEVEL: u8>(parking_lot::Mutex<T>);

/// A readers-writer lock of a level.
#[derive(Debug, Default)]
pub(crate) struct RwLock<T, const LEVEL: u8>(parking_lot::RwLock<T>);

/// The guard of a lock.
pub(crate) struct Guard<G> {
    // Dropped first: the level is held for at least as long as the lock.
    guard: G,
    _held: held::Level,
}

pub(crate) type MutexGuard<'a, T> = Guard<parking_lot::MutexGuard<'a, T>>;

impl<T, const LEVEL: u8> Mutex<T, LEVEL> {
    pub(crate) const fn new(value: T) -> Self {
        Self(parking_lot::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        // Before the lock: a wrong order panics instead of waiting forever.
        let held = held::Level::new(LEVEL);
        Guard { guard: self.0.lock(), _held: held }
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

impl<T, const LEVEL: u8> RwLock<T, LEVEL> {
    pub(crate) const fn new(value: T) -> Self {
        Self(parking_lot::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> Guard<parking_lot::RwLockReadGuard<'_, T>> {
        let held = held::Level::new(LEVEL);
        Guard { guard: self.0.read(), _held: held }
    }

    pub(crate) fn write(&self) -> Guard<parking_lot::RwLockWriteGuard<'_, T>> {
        let held = held::Level::new(LEVEL);
        Guard { guard: self.0.write(), _held: held }
    }
}

impl<G: Deref> Deref for Guard<G> {
    type Target = G::Target;

    fn deref(&self) -> &G::Target {
        &self.guard
    }
}

impl<G: DerefMut> DerefMut for Guard<G> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.guard
    }
}

#[cfg(debug_assertions)]
mod held {
    use std::cell::RefCell;

    thread_local! {
        static LEVELS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }

    /// A level that this thread holds.
    pub(super) struct Level(u8);

    impl Level {
        /// Records a level that the thread is about to take.
        ///
        /// # Panics
        /// If the thread holds a lock of this level or above.
        pub(super) fn new(level: u8) -> Self {
            LEVELS.with_borrow_mut(|levels| {
                let highest = levels.iter().max();
                assert!(
                    highest.is_none_or(|highest| *highest < level),
                    "a lock of level {level} is taken while {levels:?} are held"
                );
                levels.push(level);
            });

            Self(level)
        }
    }

    impl Drop for Level {
        fn drop(&mut self) {
            // Guards may be dropped in any order, so the level is not always the last one.
            LEVELS.with_borrow_mut(|levels| {
                if let Some(index) = levels.iter().rposition(|level| *level == self.0) {
                    levels.remove(index);
                }
            });
        }
    }
}

#[cfg(not(debug_assertions))]
mod held {
    /// Nothing is recorded in release builds.
    pub(super) struct Level;

    impl Level {
        pub(super) fn new(_level: u8) -> Self {
            Self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascending_levels_may_be_nested() {
        let (session, stream) = (Mutex::<_, { level::SESSION }>::new(1), STREAM_LOCK);
        let session = session.lock();
        assert_eq!(*session + *stream.lock(), 3);
        assert_eq!(*session + *stream.lock(), 3);
    }

    #[test]
    #[should_panic(expected = "a lock of level 2 is taken while [5] are held")]
    fn a_descending_level_panics() {
        let (session, stream) = (Mutex::<_, { level::SESSION }>::new(1), STREAM_LOCK);
        let _stream = stream.lock();
        let _session = session.lock();
    }

    #[expect(clippy::declare_interior_mutable_const, reason = "each test gets its own lock")]
    const STREAM_LOCK: Mutex<i32, { level::STREAM }> = Mutex::new(2);
}
