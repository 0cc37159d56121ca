//! Streams, readers, sessions and the hub, without sockets.
//!
//! A stream is a snapshot plus numbered frames; a connection is a set of readers. Terminals and
//! screens are traits with in-memory implementations.

mod access;
mod backend;
mod connection;
mod events;
mod frame;
mod gate;
mod hub;
mod idempotency;
mod lock;
mod metrics;
mod outbox;
mod presence;
mod saved;
mod session;
mod shutdown;
mod stream;
mod time;
mod wake;

pub use access::{Authority, Caps, Identity, Rules, SessionRight, TopicRight};
pub use backend::{
    Control, InputKey, Launch, LiveTerminal, MemoryScreens, MemoryTerminal, MemoryTerminals,
    RecoveredTerminal, Recovery, SavedScreen, Screen, ScreenCheckpoint, ScreenFormat, ScreenLines,
    ScreenPieces, ScreenSnapshot, Screens, Scrollback, SessionRecord, StartError, TerminalEnds,
    TerminalEvent, Terminals,
};
pub use connection::{Author, ClientInfo, Connection, Device, UserMismatch};
pub use events::{EventHandler, EventHandlerTaken, HubEvent};
pub use frame::{Encode, Frame, FrameEncoding, PayloadKind, Prepare, Transcode};
pub use futures_util::future::BoxFuture;
pub use hub::{
    CreateTerminal, Hub, HubConfig, HubLimits, Profile, Registration, SessionSettings,
    Subscription, Topic, TopicRule,
};
pub use idempotency::{IdempotencyCache, TooManyKeys};
pub use metrics::{MetricGroup, Metrics, Registrar};
pub use outbox::{CloseNotice, MAX_OUTBOX_BYTES, MAX_OUTBOX_ITEMS, Outbox, OutboxItem};
pub use presence::PresenceSubscription;
pub use saved::{
    SavedEpochs, SavedEviction, SavedFrame, SavedHub, SavedKey, SavedStream, StreamOwner,
};
pub use session::{
    AttachOptions, Attachment, HandlerTaken, HistoryQuery, Receipt, ScreenExport, Session,
    SessionHandler,
};
pub use shutdown::Shutdown;
pub use stream::{
    Batch, EncodeGap, Follower, GapNotice, Holders, LagPolicy, Progress, ReadLimit, Reader,
    Retention, Seq, SlowReaderPolicy, Snapshot, SnapshotHolder, SnapshotSource, Start, Stream,
    StreamConfig,
};
pub use time::now_ms;
pub use wake::Wake;
