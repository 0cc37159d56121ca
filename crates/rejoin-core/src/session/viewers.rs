//! The viewers of a session, and the one that owns its size.

use rejoin_protocol::{
    ConnectionId, MessageId, Position, Role, TerminalSize, UserId, WriterId, message::Window,
};

use crate::connection::Connection;

/// A request to attach a connection.
#[derive(Debug)]
pub struct AttachOptions {
    /// The id of the request, for the answer.
    pub reply_to: Option<MessageId>,
    /// The last position of a client that resumes.
    pub position: Option<Position>,
    /// The wanted role.
    pub role: Role,
    /// The id under which the client numbers its input.
    pub writer: Option<WriterId>,
    /// The size that the client can show.
    pub size: Option<TerminalSize>,
    /// The bytes that the client takes ahead of its acknowledgements; `None` for no limit.
    pub window: Option<Window>,
}

/// The author of numbered input: a tab across its reconnects, or one attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WriterKey {
    Named {
        /// Part of the key, so that no user continues the numbers of another one.
        user: UserId,
        writer: WriterId,
    },
    Viewer(u64),
}

impl WriterKey {
    /// Returns the name under which a terminal remembers the writer; `None` for one attachment.
    pub(super) fn name(&self) -> Option<String> {
        match self {
            // No user id contains a line feed.
            Self::Named { user, writer } => Some(format!("{user}\n{writer}")),
            Self::Viewer(_) => None,
        }
    }

    /// Returns the writer of a name.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        let (user, writer) = name.split_once('\n')?;
        let (user, writer) = (UserId::new(user).ok()?, WriterId::new(writer).ok()?);
        Some(Self::Named { user, writer })
    }
}

/// The connections that are attached to a session.
#[derive(Debug, Default)]
pub(super) struct Viewers {
    viewers: Vec<Viewer>,
    last_number: u64,
    /// The viewer whose size is the session's, while it is attached.
    size_owner: Option<u64>,
    /// The writer that typed last. It owns the size again when it reconnects.
    last_writer: Option<WriterKey>,
    /// The size that the terminal should get next.
    pub(super) wanted: Option<TerminalSize>,
}

#[derive(Debug)]
struct Viewer {
    number: u64,
    connection: ConnectionId,
    role: Role,
    writer: WriterKey,
    /// The size that the client can show, if it sent one.
    size: Option<TerminalSize>,
}

impl Viewers {
    /// Adds a viewer and returns its number.
    pub(super) fn add(&mut self, connection: &Connection, request: &AttachOptions) -> u64 {
        // Never reused: an old attachment must not act for another viewer.
        self.last_number += 1;
        let number = self.last_number;

        let writer = match request.writer.clone() {
            Some(writer) => WriterKey::Named { user: connection.user().clone(), writer },
            None => WriterKey::Viewer(number),
        };

        let AttachOptions { role, size, .. } = *request;
        let connection = connection.id().clone();
        self.viewers.push(Viewer { number, connection, role, writer, size });
        number
    }

    pub(super) fn remove(&mut self, number: u64) {
        // `last_writer` stays: the same tab may reconnect.
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

    /// Returns the connections, each once, in the order of their attachments.
    pub(super) fn connections(&self) -> Vec<ConnectionId> {
        let mut connections = Vec::new();
        for Viewer { connection, .. } in &self.viewers {
            if !connections.contains(connection) {
                connections.push(connection.clone());
            }
        }
        connections
    }

    pub(super) fn writer(&self, number: u64) -> Option<&WriterKey> {
        self.find(number).map(|viewer| &viewer.writer)
    }

    pub(super) fn set_size(&mut self, number: u64, size: TerminalSize) {
        if let Some(viewer) = self.viewers.iter_mut().find(|viewer| viewer.number == number) {
            viewer.size = Some(size);
        }
    }

    pub(super) fn owns_size(&self, number: u64) -> bool {
        self.size_owner == Some(number)
    }

    /// Returns the connection that owns the size.
    pub(super) fn size_owner(&self) -> Option<ConnectionId> {
        Some(self.find(self.size_owner?)?.connection.clone())
    }

    /// Returns `true` if a new viewer should own the size: it typed last, it is the only viewer,
    /// or no viewer owns the size and none has typed.
    pub(super) fn should_own_size(&self, number: u64) -> bool {
        let typed_last = self.writer(number) == self.last_writer.as_ref();
        let is_unowned = self.size_owner.is_none() && self.last_writer.is_none();
        typed_last || is_unowned || self.len() == 1
    }

    /// Records that a viewer typed.
    pub(super) fn record_typing(&mut self, number: u64) {
        // The key, not the number: it survives a reconnect.
        self.last_writer = self.writer(number).cloned();
    }

    /// Makes a viewer the owner of the size. Returns its size; `None` if it may not own the size
    /// or sent none.
    pub(super) fn own_size(&mut self, number: u64) -> Option<TerminalSize> {
        // A read-only viewer never changes the size for others.
        let viewer = self.find(number).filter(|viewer| viewer.role == Role::Writer)?;
        let size = viewer.size?;
        self.size_owner = Some(number);
        Some(size)
    }

    fn find(&self, number: u64) -> Option<&Viewer> {
        self.viewers.iter().find(|viewer| viewer.number == number)
    }
}
