//! Writes the table of character widths that viewers must use (`xterm/widths.json`).
//!
//! The table is JSON. For the widths 0 and 2 it contains ranges of code points, `[first, last]`;
//! all other characters are one column wide.

use std::io::{self, Write};

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", rejoin_screen::widths_json())
}
