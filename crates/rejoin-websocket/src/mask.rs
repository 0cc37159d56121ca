//! Masking of payloads (RFC 6455 §5.3).

/// Masks or unmasks `bytes`, starting with the first byte of `key`.
pub(crate) fn apply(bytes: &mut [u8], key: [u8; 4]) {
    // Eight bytes at a time, in native byte order so that each key byte keeps its place.
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut();

    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }

    for (byte, key) in rest.iter_mut().zip(key.into_iter().cycle()) {
        *byte ^= key;
    }
}

/// Returns the key for the bytes that follow the first `len` bytes.
pub(crate) fn advance(mut key: [u8; 4], len: usize) -> [u8; 4] {
    key.rotate_left(len % 4);
    key
}
