//! Programs that embed rejoin.

fn main() {}
