//! Who views a session, and whose size counts.

use rejoin_protocol::{ConnectionId, Role, TerminalSize, WriterId};

use crate::session::AttachRequest;

/// The connections that are attached to a session.
#[derive(Debug, Default)]
pub(super) struct Viewers {
    viewers: Vec<Viewer>,
    next: u64,
    /// The viewer whose size is the session's, while it is here.
    size_owner: Option<u64>,
    /// Who typed last: it gets the size back when it comes back.
    typist: Option<Typist>,
    /// The size that the terminal should have next.
    pub(super) wanted: Option<TerminalSize>,
}

#[derive(Debug)]
struct Viewer {
    number: u64,
    connection: ConnectionId,
    role: Role,
    typist: Typist,
    /// What it can show, if it said.
    size: Option<TerminalSize>,
}

/// A tab across its reconnects, or one stay of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Typist {
    Writer(WriterId),
    Viewer(u64),
}

impl Viewers {
    pub(super) fn add(&mut self, connection: ConnectionId, request: &AttachRequest) -> u64 {
        self.next += 1;
        let number = self.next;
        let writer = request.writer.clone();
        let typist = writer.map_or(Typist::Viewer(number), Typist::Writer);
        let AttachRequest { role, size, .. } = *request;
        self.viewers.push(Viewer { number, connection, role, typist, size });
        number
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

    /// The connections, each once.
    pub(super) fn connections(&self) -> Vec<ConnectionId> {
        let mut connections = Vec::new();
        for Viewer { connection, .. } in &self.viewers {
            if !connections.contains(connection) {
                connections.push(connection.clone());
            }
        }
        connections
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
        Some(self.find(self.size_owner?)?.connection.clone())
    }

    /// Whether a viewer that comes gets the size: it typed last, or there is nobody else to ask.
    pub(super) fn comes_to_own(&self, number: u64) -> bool {
        let typed_last = self.find(number).map(|viewer| &viewer.typist) == self.typist.as_ref();
        let nobody_typed = self.size_owner.is_none() && self.typist.is_none();
        typed_last || nobody_typed || self.len() == 1
    }

    /// Notes that a viewer typed.
    pub(super) fn typed(&mut self, number: u64) {
        self.typist = self.find(number).map(|viewer| viewer.typist.clone());
    }

    /// Makes a writer the size's owner; its size, if it said one.
    pub(super) fn own_size(&mut self, number: u64) -> Option<TerminalSize> {
        let viewer = self.find(number).filter(|viewer| viewer.role == Role::Writer)?;
        let size = viewer.size?;
        self.size_owner = Some(number);
        Some(size)
    }

    fn find(&self, number: u64) -> Option<&Viewer> {
        self.viewers.iter().find(|viewer| viewer.number == number)
    }
}
