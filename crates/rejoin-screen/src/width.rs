//! The widths of characters, in columns.

use unicode_width::UnicodeWidthChar;

/// Returns the width of a character: 0 if combining, 2 if wide, 1 otherwise.
///
/// Viewers must use the same widths (`xterm/widths.json`). Otherwise the columns of a line differ.
pub(crate) fn of(c: char) -> usize {
    match c {
        ' '..='~' => 1,
        // Terminals always display the soft hyphen, although Unicode says zero width.
        '\u{ad}' => 1,
        _ => c.width().unwrap_or(0).min(2),
    }
}

/// Returns the table of widths as JSON. See [`widths_json`](crate::widths_json).
pub(crate) fn json() -> String {
    let ranges = |width: usize| {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        // Below 0xa0, xterm.js does not consult the table; see `xterm/unicode.mjs`.
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
