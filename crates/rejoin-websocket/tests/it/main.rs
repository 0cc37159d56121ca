//! What the decoder accepts, refuses and allocates, and what the frames are to another decoder.

mod agreement;
mod decode;
mod encode;
mod handshake;
mod heap;
mod limits;
mod oracle;
mod stream;
mod text;
mod violations;
mod wire;
