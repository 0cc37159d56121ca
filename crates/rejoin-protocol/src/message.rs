//! Text messages of both sides: the envelope and the payloads.

mod client;
mod closing;
mod error;
mod presence;
mod published;
mod server;

pub use client::{
    AttachPayload, AuthenticatePayload, CreateSessionPayload, Envelope, HistoryLines,
    HistoryPayload, ImplicitPositions, InputPayload, OptionalSize, PresencePayload, PublishPayload,
    RefreshPayload, Request, RequiredSize, ResizePayload, SessionRef, SignalPayload,
    SubscribePayload, TopicRef, Window, is_built_in, parse,
};
pub use closing::ClosingNotice;
pub use error::ErrorBody;
pub use presence::{PresenceChange, PresenceMember, PresenceState};
pub use published::{MessageBody, direct_message, stream_message, topic_message};
pub use server::{
    Attached, AuthRefused, AuthResult, Empty, Gap, HistoryPage, HistoryRange, ImplicitStreamStarts,
    Pong, PublishAck, ServerMessage, SessionAck, SessionUpdate, StreamStart, SubscribeAck,
    Subscriptions, TokenExpiring, handler_text, text,
};
