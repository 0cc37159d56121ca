//! What the streams of each user may retain together.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use rejoin_protocol::UserId;

use crate::stream::Budget;

/// The budgets of the users that have streams.
#[derive(Debug)]
pub(super) struct Budgets {
    /// Bytes of one user.
    limit: u64,
    /// Held for a look-up or a change; taken below the maps of topics and connections. The
    /// streams of a user hold its budget.
    of_user: Mutex<HashMap<UserId, Weak<Budget>>>,
}

impl Budgets {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, of_user: Mutex::default() }
    }

    /// The budget of all streams that this user causes.
    pub(super) fn of(&self, user: &UserId) -> Arc<Budget> {
        let mut of_user = self.of_user.lock();
        if let Some(budget) = of_user.get(user).and_then(Weak::upgrade) {
            return budget;
        }
        let budget = Budget::new(self.limit);
        of_user.insert(user.clone(), Arc::downgrade(&budget));
        budget
    }

    /// Forgets users without streams.
    pub(super) fn sweep(&self) {
        let mut of_user = self.of_user.lock();
        of_user.retain(|_, budget| budget.strong_count() > 0);
        of_user.shrink_to_fit();
    }
}
