//! The palette: its numbers, its default colours and the colour syntax.

/// The number of the text colour (OSC 10). Background and cursor follow.
pub(crate) const FOREGROUND: usize = 256;
/// The number of the background colour (OSC 11).
pub(crate) const BACKGROUND: usize = 257;

/// The 16 basic colours of the viewers' theme.
const BASIC: [u32; 16] = [
    0x2e_3436, 0xcc_0000, 0x4e_9a06, 0xc4_a000, 0x34_65a4, 0x75_507b, 0x06_989a, 0xd3_d7cf,
    0x55_5753, 0xef_2929, 0x8a_e234, 0xfc_e94f, 0x72_9fcf, 0xad_7fa8, 0x34_e2e2, 0xee_eeec,
];

/// Returns a colour of the viewers' theme: 256 colours, then text, background, cursor.
pub(crate) fn default_colour(index: usize) -> [u8; 3] {
    match index {
        0..16 => {
            let [_, r, g, b] = BASIC[index].to_be_bytes();
            [r, g, b]
        }
        // A cube of 6 × 6 × 6 colours, then 24 greys: the standard palette of xterm.
        16..232 => [36, 6, 1].map(|unit| match (index - 16) / unit % 6 {
            0 => 0,
            level => byte(55 + 40 * level),
        }),
        232..=255 => [byte(8 + 10 * (index - 232)); 3],
        BACKGROUND => [0; 3],
        _ => [255; 3],
    }
}

/// Parses `#rgb` or `rgb:r/g/b` with one to four hexadecimal digits for each part.
pub(super) fn parse(spec: &str) -> Option<[u8; 3]> {
    if let Some(digits) = spec.strip_prefix('#') {
        let len = digits.len() / 3;
        if !digits.is_ascii() || digits.len() != 3 * len {
            return None;
        }

        let parts = [&digits[..len], &digits[len..2 * len], &digits[2 * len..]];
        // Missing digits are low zeros: `#fff` is `#f0f0f0`.
        return each(parts, |value, bits| value << 16 >> bits >> 8);
    }

    let (scheme, values) = spec.split_at_checked(4)?;
    let mut values = values.split('/');
    let parts = [values.next()?, values.next()?, values.next()?];
    let alike = parts.iter().all(|part| part.len() == parts[0].len());

    if !scheme.eq_ignore_ascii_case("rgb:") || values.next().is_some() || !alike {
        return None;
    }

    // The value is a fraction of the largest number with these digits: `rgb:f/f/f` is white.
    each(parts, |value, bits| {
        let most = (1 << bits) - 1;
        (value * 255 + most / 2) / most
    })
}

/// Parses each part and scales it to one byte. `scale` gets the value and its number of bits.
fn each(parts: [&str; 3], scale: impl Fn(u32, usize) -> u32) -> Option<[u8; 3]> {
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut colour = [0; 3];

    for (value, part) in colour.iter_mut().zip(parts) {
        if !(1..=4).contains(&part.len()) || !digits(part) {
            return None;
        }

        let parsed = u32::from_str_radix(part, 16).ok()?;
        *value = byte(scale(parsed, 4 * part.len()) as usize);
    }

    Some(colour)
}

/// Returns the value as a byte. Callers only pass values up to 255.
fn byte(value: usize) -> u8 {
    value.to_le_bytes()[0]
}
