//! Text messages: the envelope, and what both sides say in it.

mod client;
mod delivery;
mod presence;
mod server;

pub use client::{
    AttachRequest, AuthenticateRequest, CreateSessionRequest, Envelope, ImplicitPositions,
    InputRequest, OptionalSize, PresenceRequest, PublishRequest, RefreshRequest, Request,
    RequiredSize, ResizeRequest, SessionRef, SignalRequest, SubscribeRequest, TopicRef,
    is_built_in, parse,
};
pub use delivery::{MessageBody, direct_message, stream_message, topic_message};
pub use presence::{PresenceChange, PresenceState, Present};
pub use server::{
    Attached, AuthRefused, AuthResult, ClosingNotice, Empty, ErrorBody, Gap, ImplicitStreamStarts,
    Pong, PublishAck, ServerMessage, SessionAck, SessionUpdate, StreamStart, SubscribeAck,
    Subscriptions, TokenExpiring, handler_text, text,
};
