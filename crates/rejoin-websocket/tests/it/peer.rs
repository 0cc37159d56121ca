//! Another implementation of DEFLATE, on the other side of the connection.

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

/// What a sender leaves out.
const TAIL: &[u8] = &[0, 0, 0xFF, 0xFF];
/// A final block without data: what stops between two blocks stops with this.
const FINAL: &[u8] = &[1, 0, 0, 0xFF, 0xFF];

/// Compresses as RFC 7692 §7.2.1 says, at a level from 0 to 10.
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

/// Compresses into blocks of which the last is final, as RFC 7692 §7.2.3.4 says.
pub(crate) fn compressed_with_final_block(payload: &[u8], level: u8) -> Vec<u8> {
    let mut bytes = miniz_oxide::deflate::compress_to_vec(payload, level);
    bytes.push(0);
    bytes
}

/// Inflates as RFC 7692 §7.2.2 says; `None` for what is no DEFLATE, unfinished or over `max` bytes.
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
