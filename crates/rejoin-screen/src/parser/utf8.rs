//! Characters from bytes, by the rules of the viewers: what is no UTF-8 is left out.

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A character of so many bytes.
    Char(char, usize),
    /// So many bytes that are no character.
    Skip(usize),
    /// The beginning of a character: all bytes there are.
    Partial,
}

/// Decodes the first character of `bytes`, which must not be empty.
///
/// A character cut short by another byte vanishes, as does a byte order mark.
pub(super) fn next(bytes: &[u8]) -> Next {
    let (len, bits) = match bytes[0] {
        byte @ ..=0x7f => return Next::Char(char::from(byte), 1),
        byte @ 0xc0..=0xdf => (2, byte & 0x1f),
        byte @ 0xe0..=0xef => (3, byte & 0x0f),
        byte @ 0xf0..=0xf7 => (4, byte & 0x07),
        _ => return Next::Skip(1),
    };
    let mut code = u32::from(bits);
    for index in 1..len {
        match bytes.get(index) {
            None => return Next::Partial,
            Some(byte) if byte & 0xc0 == 0x80 => code = code << 6 | u32::from(byte & 0x3f),
            Some(_) => return Next::Skip(index),
        }
    }
    let least = [0, 0, 0x80, 0x800, 0x1_0000][len];
    match char::from_u32(code).filter(|&c| code >= least && c != '\u{feff}') {
        Some(c) => Next::Char(c, len),
        None => Next::Skip(len),
    }
}
