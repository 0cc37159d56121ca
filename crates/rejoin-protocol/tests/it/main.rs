//! What the wire looks like, and what bad input gets.

mod binary;
mod client;
mod codes;
mod names;
mod server;
