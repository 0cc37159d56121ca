//! Streams, readers, sessions and the hub, without sockets.
//!
//! A stream is a snapshot plus numbered frames; a connection is a set of readers. What is
//! outside (terminals, screens) stands behind traits, each with an in-memory implementation.

mod access;
mod connection;
mod events;
mod hub;
mod metrics;
mod outbox;
mod outside;
mod presence;
mod recent;
mod saved;
mod session;
mod shutdown;
mod stream;
mod time;
mod wire;

pub use access::{Author, Authority, Caps, Identity, Rules, SessionRight, TopicRight};
pub use connection::{AnotherUser, Connection, Device, Handshake};
pub use events::{EventHandler, EventHandlerTaken, HubEvent};
pub use hub::{
    CreateTerminal, Hub, HubConfig, HubLimits, Membership, Profile, SessionSettings, Subscription,
    Topic, TopicRule,
};
pub use metrics::{DropReason, Metrics};
pub use outbox::{Goodbye, Item, MAX_OUTBOX_BYTES, MAX_OUTBOX_ITEMS, Outbox, Wake};
pub use outside::{
    BoxFuture, Control, Launch, LiveTerminal, MemoryScreens, MemoryTerminal, MemoryTerminals,
    Screen, ScreenFormat, ScreenPieces, ScreenSnapshot, Screens, Scrollback, StartError,
    TerminalEvent, Terminals,
};
pub use presence::Following;
pub use recent::{Recent, TooManyKeys};
pub use saved::{Saved, SavedEpochs, SavedEviction, SavedFrame, SavedKey, SavedStream, Whose};
pub use session::{
    AttachRequest, Attachment, HandlerTaken, Receipt, ScreenExport, Session, SessionHandler,
};
pub use shutdown::Shutdown;
pub use stream::{
    Batch, EncodeGap, Follower, GapNotice, Holders, Lag, Progress, ReadLimit, Reader, Retention,
    Seq, SlowReader, Snapshot, SnapshotSource, Start, Stream, StreamConfig,
};
pub use time::now_ms;
pub use wire::{Encode, Form, Frame, Kind, Prepare, Reform};
