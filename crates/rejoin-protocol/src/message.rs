//! Text messages: the envelope, and what both sides say in it.

mod client;
mod delivery;
mod presence;
mod server;

pub use client::{
    Attach, Authenticate, CreateSession, Envelope, Input, OptionalSize, Positions, PresenceRequest,
    Publish, Refresh, Request, RequiredSize, Resize, SessionRef, SignalSession, Subscribe,
    TopicRef, is_built_in, parse,
};
pub use delivery::{Event, direct_message, stream_message, topic_message};
pub use presence::{PresenceChange, PresenceState, Present};
pub use server::{
    Attached, AuthRefused, AuthResult, Closing, Empty, ErrorBody, Gap, OwnStreams, Pong,
    PublishAck, ServerMessage, SessionAck, SessionUpdate, StreamStart, SubscribeAck, Subscriptions,
    TokenExpiring, handler_text, text,
};
