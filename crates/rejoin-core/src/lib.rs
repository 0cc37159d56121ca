//! Streams, readers, sessions and the hub, without sockets.
//!
//! A stream is a snapshot plus numbered frames; a connection is a set of readers. What is
//! outside (terminals, screens) stands behind traits, each with an in-memory implementation.

mod access;
mod backend;
mod connection;
mod events;
mod hub;
mod idempotency;
mod metrics;
mod outbox;
mod presence;
mod saved;
mod session;
mod shutdown;
mod stream;
mod time;
mod wire;

pub use access::{Author, Authority, Caps, Identity, Rules, SessionRight, TopicRight};
pub use backend::{
    BoxFuture, Control, Launch, LiveTerminal, MemoryScreens, MemoryTerminal, MemoryTerminals,
    Screen, ScreenFormat, ScreenPieces, ScreenSnapshot, Screens, Scrollback, StartError,
    TerminalEvent, Terminals,
};
pub use connection::{ClientInfo, Connection, Device, UserMismatch};
pub use events::{EventHandler, EventHandlerTaken, HubEvent};
pub use hub::{
    CreateTerminal, Hub, HubConfig, HubLimits, Profile, Registration, SessionSettings,
    Subscription, Topic, TopicRule,
};
pub use idempotency::{IdempotencyCache, TooManyKeys};
pub use metrics::{DropReason, Metrics};
pub use outbox::{CloseNotice, MAX_OUTBOX_BYTES, MAX_OUTBOX_ITEMS, Outbox, OutboxItem, Wake};
pub use presence::PresenceSubscription;
pub use saved::{
    SavedEpochs, SavedEviction, SavedFrame, SavedHub, SavedKey, SavedStream, StreamOwner,
};
pub use session::{
    AttachRequest, Attachment, HandlerTaken, Receipt, ScreenExport, Session, SessionHandler,
};
pub use shutdown::Shutdown;
pub use stream::{
    Batch, EncodeGap, Follower, GapNotice, Holders, LagPolicy, Progress, ReadLimit, Reader,
    Retention, Seq, SlowReaderPolicy, Snapshot, SnapshotSource, Start, Stream, StreamConfig,
};
pub use time::now_ms;
pub use wire::{Encode, Frame, FrameEncoding, PayloadKind, Prepare, Transcode};
