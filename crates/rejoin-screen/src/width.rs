//! How many columns a character takes.

use unicode_width::UnicodeWidthChar;

/// 0 for combining characters, 2 for wide ones, else 1.
///
/// The page's terminal must use the same table (`xterm/widths.json`), else the
/// columns of a line differ between the two.
pub(crate) fn of(c: char) -> usize {
    match c {
        ' '..='~' => 1,
        // The soft hyphen is shown at all times by terminals.
        '\u{ad}' => 1,
        _ => c.width().unwrap_or(0).min(2),
    }
}

/// The table of widths as JSON: `{"0":[[first,last],..],"2":[..]}`; the rest is one column wide.
pub(crate) fn json() -> String {
    let ranges = |width: usize| {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for code in 0xa0..=0x10_ffff {
            if char::from_u32(code).map(of) != Some(width) {
                continue;
            }
            match ranges.last_mut().filter(|range| range.1 + 1 == code) {
                Some(range) => range.1 = code,
                None => ranges.push((code, code)),
            }
        }
        let ranges: Vec<String> =
            ranges.iter().map(|(first, last)| format!("[{first},{last}]")).collect();
        ranges.join(",")
    };
    format!("{{\"0\":[{}],\n\"2\":[{}]}}", ranges(0), ranges(2))
}
