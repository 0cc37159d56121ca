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
mod recorder;
mod saved;
mod session;
mod shutdown;
mod stream;
mod time;
mod timers;
mod wake;

pub use access::{Authority, Caps, Identity, Rules, SessionRight, TopicRight, new_id};
pub use backend::{
    Change, Control, EVENTS_PER_SESSION, EpochClock, EventKind, Eviction, InputKey, Journal,
    JournalMessage, JournalRecord, JournalRecords, Launch, LiveTerminal, MemoryJournal,
    MemoryScreens, MemoryStore, MemoryTerminal, MemoryTerminals, RecoveredTerminal, Recovery,
    RowStatus, SavedScreen, Screen, ScreenCheckpoint, ScreenFormat, ScreenLines, ScreenPieces,
    ScreenSnapshot, Screens, Scrollback, SessionEvent, SessionRecord, SessionRow, StartError,
    Store, StoreError, StoredDeadline, StoredKey, StreamOwner, TerminalEnds, TerminalEvent,
    Terminals,
};
pub use connection::{Author, ClientInfo, Connection, Device, UserMismatch};
pub use events::{EventHandler, EventHandlerTaken, HubEvent};
pub use frame::{Encode, Frame, FrameEncoding, PayloadKind, Prepare, Transcode};
pub use futures_util::future::BoxFuture;
pub use hub::{
    Confirm, CreateTerminal, Durability, Hub, HubConfig, HubLimits, IdleTimeout, NewMessage,
    Profile, PublishProgress, Registration, SessionHistory, SessionSettings, Subscription, Topic,
    TopicRule,
};
pub use idempotency::{IdempotencyCache, TooManyKeys};
pub use metrics::{MetricGroup, Metrics, Registrar};
pub use outbox::{CloseNotice, MAX_OUTBOX_BYTES, MAX_OUTBOX_ITEMS, Outbox, OutboxItem};
pub use presence::PresenceSubscription;
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
pub use time::{MachineClock, now_ms};
pub use wake::Wake;
