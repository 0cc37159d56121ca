//! What the decoder accepts, refuses and allocates, and what the frames are to another decoder.

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
