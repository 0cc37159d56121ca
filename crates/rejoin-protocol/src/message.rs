//! Text messages: the envelope, and what both sides say in it.

mod client;
mod server;

pub use client::{
    Attach, Authenticate, CreateSession, Envelope, Input, OptionalSize, Publish, Request,
    RequiredSize, Resize, SessionRef, Subscribe, TopicRef, is_built_in, parse,
};
pub use server::{
    Attached, AuthResult, Closing, Empty, ErrorBody, Gap, Pong, PublishAck, ServerMessage,
    SessionAck, SessionUpdate, SubscribeAck, Subscriptions, handler_text, text, topic_message,
};
