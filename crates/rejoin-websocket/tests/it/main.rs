//! Decoding, limits and allocations, and comparisons with tungstenite and miniz_oxide.

mod agreement;
mod decode;
mod deflate;
mod encode;
mod handshake;
mod heap;
mod inflate;
mod limits;
mod negotiation;
mod oracle;
mod peer;
mod stream;
mod text;
mod violations;
mod wire;
