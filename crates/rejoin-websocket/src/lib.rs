//! RFC 6455 without I/O: an incremental decoder and pre-encoded frames.
//!
//! Bytes go in, messages come out, and frames are built as [`bytes::Bytes`] that any number of
//! sockets can share. Sockets, time-outs, the closing handshake's order of events and extensions
//! are the caller's.
//!
//! ```
//! use rejoin_websocket::{Decoder, Event, Role, frame};
//!
//! let mut input = frame::ping(b"still there?").to_vec();
//! let mut decoder = Decoder::new(Role::Client, 64 * 1024);
//! let mut feed = decoder.feed(&mut input);
//! while let Some(event) = feed.next()? {
//!     if let Event::Ping(payload) = event {
//!         assert_eq!(payload, b"still there?");
//!     }
//! }
//! assert!(decoder.is_idle());
//! # Ok::<(), rejoin_websocket::Error>(())
//! ```

mod decoder;
mod error;
mod event;
pub mod frame;
pub mod handshake;
mod mask;

pub use decoder::{Decoder, Feed, Role};
pub use error::Error;
pub use event::{Close, Event};
pub use frame::{Kind, close, deflate, encode, header_len, payload, ping, pong};
pub use handshake::accept_key;
