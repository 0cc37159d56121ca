//! Writes the table of character widths that the viewers' terminal must share.
//!
//! JSON: for each width but one, the ranges of code points that have it, as
//! `[first, last]`; all others are one column wide.

use std::io::{self, Write};

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", rejoin_screen::widths_json())
}
