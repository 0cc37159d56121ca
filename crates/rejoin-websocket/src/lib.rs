//! RFC 6455 and permessage-deflate without I/O: an incremental decoder and pre-encoded frames.
//!
//! Bytes go in, messages come out, and frames are built as [`bytes::Bytes`] that any number of
//! sockets can share. Sockets, time-outs and the closing handshake's order of events are the
//! caller's.
//!
//! ```
//! use rejoin_websocket::{Decoder, Event, Side, frame};
//!
//! let mut input = frame::ping(b"still there?").to_vec();
//! let mut decoder = Decoder::new(Side::Client, 64 * 1024);
//! let mut feed = decoder.feed(&mut input);
//! while let Some(event) = feed.next()? {
//!     if let Event::Ping(payload) = event {
//!         assert_eq!(payload, b"still there?");
//!     }
//! }
//! assert!(decoder.is_idle());
//! # Ok::<(), rejoin_websocket::Error>(())
//! ```
//!
//! # Compression
//!
//! [`handshake::accept_deflate`] agrees on permessage-deflate (RFC 7692) without context takeover on
//! either side: each message is compressed by itself. So a frame has one compressed variant, made
//! by [`deflate`] and shared like the frame, and no connection owns a compression state.
//! [`Decoder::with_deflate`] reads compressed messages; what one inflates to is bounded like a plain
//! message, before memory is given to it.
//!
//! What this does not do: windows under 32 kB (such offers are declined), other extensions, and
//! deciding which of the two frames a socket gets.
//!
//! ```
//! use rejoin_websocket::{Decoder, Event, MessageKind, Side, deflate, encode, handshake::accept_deflate};
//!
//! let offer: &[u8] = b"permessage-deflate; client_max_window_bits";
//! assert!(accept_deflate([offer]).is_some());
//!
//! let text = "as good as new, ".repeat(50);
//! let plain = encode(MessageKind::Text, &[text.as_bytes()]);
//! let compressed = deflate(&plain).expect("it is large and repeats");
//! assert!(compressed.len() * 10 < plain.len());
//!
//! let mut input = compressed.to_vec();
//! let mut decoder = Decoder::new(Side::Client, 64 * 1024).with_deflate();
//! assert_eq!(decoder.feed(&mut input).next()?, Some(Event::Text(&text)));
//! # Ok::<(), rejoin_websocket::Error>(())
//! ```
//!
//! `cargo xtask conformance` runs the Autobahn Testsuite against `examples/echo.rs`.

mod decoder;
mod error;
mod event;
pub mod frame;
pub mod handshake;
mod mask;

pub use decoder::{Decoder, Feed, Side};
pub use error::Error;
pub use event::{CloseFrame, Event};
pub use frame::{MessageKind, close, deflate, encode, header_len, payload, ping, pong};
pub use handshake::accept_key;
