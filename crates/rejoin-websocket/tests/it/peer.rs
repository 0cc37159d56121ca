//! A peer that compresses with miniz_oxide, an independent implementation of DEFLATE.

use miniz_oxide::{
    MZFlush,
    deflate::{core, stream},
    inflate::{
        TINFLStatus,
        core::{
            DecompressorOxide, decompress, inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
        },
    },
};

/// The bytes that a sender omits.
const TAIL: &[u8] = &[0, 0, 0xFF, 0xFF];
/// An empty final block; it ends a stream that stops between two blocks.
const FINAL: &[u8] = &[1, 0, 0, 0xFF, 0xFF];

/// Compresses a payload (RFC 7692 §7.2.1) at a level from 0 to 10.
pub(crate) fn compressed(payload: &[u8], level: u8) -> Vec<u8> {
    let flags = core::create_comp_flags_from_zip_params(level.into(), -15, 0);
    let mut state = core::CompressorOxide::new(flags);
    let mut bytes = vec![0; payload.len() + payload.len() / 100 + 100];
    let result = stream::deflate(&mut state, payload, &mut bytes, MZFlush::Sync);
    assert_eq!(result.bytes_consumed, payload.len());
    bytes.truncate(result.bytes_written);
    assert!(bytes.ends_with(TAIL), "{bytes:x?}");
    bytes.truncate(bytes.len() - TAIL.len());
    bytes
}

/// Compresses a payload and marks the last block as final (RFC 7692 §7.2.3.4).
pub(crate) fn compressed_with_final_block(payload: &[u8], level: u8) -> Vec<u8> {
    let mut bytes = miniz_oxide::deflate::compress_to_vec(payload, level);
    bytes.push(0);
    bytes
}

/// Inflates a payload (RFC 7692 §7.2.2).
///
/// Returns `None` if it is not DEFLATE data, incomplete, or longer than `max` bytes.
pub(crate) fn inflated(compressed: &[u8], max: usize) -> Option<Vec<u8>> {
    let input = [compressed, TAIL, FINAL].concat();
    let mut input = input.as_slice();
    let mut message = Vec::new();

    while !input.is_empty() {
        let mut block = vec![0; max - message.len()];
        let mut state = DecompressorOxide::new();
        let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let (status, read, written) = decompress(&mut state, input, &mut block, 0, flags);

        if status != TINFLStatus::Done {
            return None;
        }

        message.extend_from_slice(&block[..written]);
        input = &input[read..];
    }

    Some(message)
}
