//! UTF-8 decoding as viewers do it: invalid bytes are skipped.

/// The meaning of the next bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// A character and its length in bytes.
    Char(char, usize),
    /// The number of bytes to skip, because they are invalid.
    Skip(usize),
    /// The start of a character, to which all bytes belong.
    Partial,
}

/// Decodes the first character of `bytes`, which must not be empty.
///
/// Skips a byte order mark, and an incomplete character that is followed by another one. Prints no
/// replacement characters, because xterm.js prints none.
pub(super) fn next(bytes: &[u8]) -> Decoded {
    let (len, bits) = match bytes[0] {
        byte @ ..=0x7f => return Decoded::Char(char::from(byte), 1),
        byte @ 0xc0..=0xdf => (2, byte & 0x1f),
        byte @ 0xe0..=0xef => (3, byte & 0x0f),
        byte @ 0xf0..=0xf7 => (4, byte & 0x07),
        _ => return Decoded::Skip(1),
    };

    let mut code = u32::from(bits);
    for index in 1..len {
        match bytes.get(index) {
            None => return Decoded::Partial,
            Some(byte) if byte & 0xc0 == 0x80 => code = code << 6 | u32::from(byte & 0x3f),
            Some(_) => return Decoded::Skip(index),
        }
    }

    // Overlong encodings and surrogates are skipped as a whole.
    let least = [0, 0, 0x80, 0x800, 0x1_0000][len];
    match char::from_u32(code).filter(|&c| code >= least && c != '\u{feff}') {
        Some(c) => Decoded::Char(c, len),
        None => Decoded::Skip(len),
    }
}
