//! RFC 6455 and permessage-deflate without I/O: an incremental decoder and pre-encoded frames.
//!
//! [`Decoder`] turns received bytes into messages. [`encode`] builds frames as [`bytes::Bytes`],
//! which any number of sockets can share. The caller owns the sockets, the time-outs and the order
//! of the closing handshake.
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
//! [`handshake::accept_deflate`] negotiates permessage-deflate (RFC 7692) without context takeover
//! in either direction, so each message is compressed on its own. A frame therefore has one
//! compressed variant, which [`deflate`] creates and all sockets share, and no connection owns a
//! compression state. [`Decoder::with_deflate`] reads compressed messages. Their inflated size has
//! the same limit as a plain message, and it is checked before the memory is allocated.
//!
//! The crate does not support windows below 32 KiB (it declines such offers) or other extensions.
//! The caller decides for each socket whether to send the plain or the compressed frame.
//!
//! ```
//! use rejoin_websocket::handshake::accept_deflate;
//! use rejoin_websocket::{Decoder, Event, MessageKind, Side, deflate, encode};
//!
//! let offer: &[u8] = b"permessage-deflate; client_max_window_bits";
//! assert!(accept_deflate([offer]).is_some());
//!
//! let text = "repetitive text, ".repeat(50);
//! let plain = encode(MessageKind::Text, &[text.as_bytes()]);
//! let compressed = deflate(&plain).expect("the text is long and repetitive");
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
pub use event::{CloseFrame, Event, MessageKind};
pub use frame::{close, deflate, deflate_payload, encode, header_len, payload, ping, pong};
pub use handshake::accept_key;
