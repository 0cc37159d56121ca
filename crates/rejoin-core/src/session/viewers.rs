//! Who views a session, and whose size counts.

use rejoin_protocol::{ConnectionId, Role, TerminalSize};

/// The connections that are attached to a session.
#[derive(Debug, Default)]
pub(super) struct Viewers {
    viewers: Vec<Viewer>,
    next: u64,
    /// The last one who typed; its size is the session's, even after it left.
    size_owner: Option<u64>,
    /// The size that the terminal should have next.
    pub(super) wanted: Option<TerminalSize>,
}

#[derive(Debug)]
struct Viewer {
    number: u64,
    connection: ConnectionId,
    role: Role,
    /// What it can show, if it said.
    size: Option<TerminalSize>,
}

impl Viewers {
    pub(super) fn add(
        &mut self,
        connection: ConnectionId,
        role: Role,
        size: Option<TerminalSize>,
    ) -> u64 {
        self.next += 1;
        self.viewers.push(Viewer { number: self.next, connection, role, size });
        self.next
    }

    pub(super) fn remove(&mut self, number: u64) {
        self.viewers.retain(|viewer| viewer.number != number);
        if self.size_owner == Some(number) {
            self.size_owner = None;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.viewers.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.viewers.is_empty()
    }

    pub(super) fn set_size(&mut self, number: u64, size: TerminalSize) {
        if let Some(viewer) = self.viewers.iter_mut().find(|viewer| viewer.number == number) {
            viewer.size = Some(size);
        }
    }

    pub(super) fn owns_size(&self, number: u64) -> bool {
        self.size_owner == Some(number)
    }

    /// The connection whose size counts.
    pub(super) fn size_owner(&self) -> Option<ConnectionId> {
        let number = self.size_owner?;
        let owner = self.viewers.iter().find(|viewer| viewer.number == number)?;
        Some(owner.connection.clone())
    }

    /// Makes a writer the size's owner; its size, if it said one.
    pub(super) fn own_size(&mut self, number: u64) -> Option<TerminalSize> {
        let viewer = self.viewers.iter().find(|viewer| viewer.number == number)?;
        if viewer.role == Role::Viewer {
            return None;
        }
        let size = viewer.size?;
        self.size_owner = Some(number);
        Some(size)
    }
}
