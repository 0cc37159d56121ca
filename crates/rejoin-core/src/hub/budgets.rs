//! The budgets for the bytes that each user's streams retain.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use rejoin_protocol::UserId;

use crate::{
    lock::{Mutex, level::BUDGETS},
    stream::Budget,
};

/// The budgets of all users with streams.
#[derive(Debug)]
pub(super) struct Budgets {
    /// The limit of each budget, in bytes.
    limit: u64,
    /// Weak: the streams of a user hold the user's budget.
    by_user: Mutex<HashMap<UserId, Weak<Budget>>, BUDGETS>,
}

impl Budgets {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, by_user: Mutex::default() }
    }

    /// Returns the budget of all streams that `user` is accountable for.
    pub(super) fn of(&self, user: &UserId) -> Arc<Budget> {
        let mut by_user = self.by_user.lock();

        // The last stream of the user may have just been dropped.
        if let Some(budget) = by_user.get(user).and_then(Weak::upgrade) {
            return budget;
        }

        let budget = Budget::new(self.limit);
        by_user.insert(user.clone(), Arc::downgrade(&budget));
        budget
    }

    /// Drops the budgets of users without streams.
    pub(super) fn sweep(&self) {
        let mut by_user = self.by_user.lock();
        by_user.retain(|_, budget| budget.strong_count() > 0);
        by_user.shrink_to_fit();
    }
}
