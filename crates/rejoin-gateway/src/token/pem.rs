//! Public keys of a file: PEM (RFC 7468), or a JWK set.

use rustls::pki_types::alg_id;

use crate::token::{
    InvalidKey, jwk,
    key::{Key, KeySet, P256, P384},
};

/// Tags of DER (X.690 §8), as far as a key has them.
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// The keys of a file.
///
/// # Errors
/// [`InvalidKey`] if one of them cannot be used: an administrator wants to know at once.
pub(super) fn read(text: &[u8]) -> Result<KeySet, InvalidKey> {
    if text.trim_ascii_start().starts_with(b"{") {
        return jwk::read_file(text);
    }
    let blocks = pem::parse_many(text).map_err(|_| InvalidKey::Damaged)?;
    KeySet::new(blocks.iter().map(key).collect::<Result<_, _>>()?)
}

fn key(block: &pem::Pem) -> Result<Key, InvalidKey> {
    let bytes = block.contents();
    match block.tag() {
        "PUBLIC KEY" => subject_public_key(bytes),
        "RSA PUBLIC KEY" => rsa(bytes),
        "CERTIFICATE" => subject_public_key(certified(bytes).ok_or(InvalidKey::Damaged)?),
        label if label.ends_with("PRIVATE KEY") => Err(InvalidKey::Private),
        label => Err(InvalidKey::Label { label: label.to_owned() }),
    }
}

/// The key in a `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7).
fn subject_public_key(info: &[u8]) -> Result<Key, InvalidKey> {
    let parts = || {
        let (info, _) = element(info, SEQUENCE)?;
        let (algorithm, rest) = element(info, SEQUENCE)?;
        let (bits, _) = element(rest, BIT_STRING)?;
        // Whole bytes: none of the last one's bits is unused.
        Some((algorithm, bits.strip_prefix(&[0])?))
    };
    let (algorithm, bytes) = parts().ok_or(InvalidKey::Damaged)?;
    let is = |known: rustls::pki_types::AlgorithmIdentifier| algorithm == known.as_ref();
    if is(alg_id::RSA_ENCRYPTION) {
        rsa(bytes)
    } else if is(alg_id::ECDSA_P256) {
        Key::ec(bytes, P256)
    } else if is(alg_id::ECDSA_P384) {
        Key::ec(bytes, P384)
    } else if is(alg_id::ED25519) {
        Key::ed25519(bytes)
    } else {
        Err(InvalidKey::Kind)
    }
}

/// The key in an `RSAPublicKey` (RFC 8017 appendix A.1.1).
fn rsa(bytes: &[u8]) -> Result<Key, InvalidKey> {
    let parts = || {
        let (numbers, _) = element(bytes, SEQUENCE)?;
        let (modulus, rest) = element(numbers, INTEGER)?;
        let (exponent, _) = element(rest, INTEGER)?;
        Some((modulus, exponent))
    };
    let (modulus, exponent) = parts().ok_or(InvalidKey::Damaged)?;
    Key::rsa(modulus, exponent)
}

/// The `SubjectPublicKeyInfo` of a certificate (RFC 5280 §4.1), and what stands after it.
fn certified(certificate: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut rest, _) = element(certificate, SEQUENCE)?;
    if let Some((_, after)) = element(rest, VERSION) {
        rest = after;
    }
    // The serial number, then signature, issuer, validity, subject.
    for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE] {
        (_, rest) = element(rest, tag)?;
    }
    Some(rest)
}

/// The content of the first element, and what stands after it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let rest = bytes.strip_prefix(&[tag])?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // No file of keys is longer than three bytes say. 0x80, without a length, is not DER.
        0x81..=0x83 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}
