//! Random secrets for clients. The server keeps only their hashes.
//!
//! A secret is found by its hash. The time of a lookup depends on the hash of the received text,
//! which reveals nothing about a stored secret, so no comparison needs constant time.

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

/// The random bytes of a secret: 256 bits.
const SECRET_BYTES: usize = 32;

/// The SHA-256 hash of a secret.
pub(crate) type Hash = [u8; 32];

/// Returns a new secret, as 43 characters of base64url, and its hash.
pub(crate) fn generate() -> (String, Hash) {
    let bytes: [u8; SECRET_BYTES] = random();
    (BASE64_URL_SAFE_NO_PAD.encode(bytes), hash_bytes(&bytes))
}

/// Returns the hash of a secret, or `None` if the text cannot be a secret.
pub(crate) fn hash(secret: &str) -> Option<Hash> {
    let mut bytes = [0; SECRET_BYTES];
    // Into a buffer of the exact size: longer text fails without an allocation.
    let decoded = BASE64_URL_SAFE_NO_PAD.decode_slice(secret, &mut bytes);
    (decoded == Ok(SECRET_BYTES)).then(|| hash_bytes(&bytes))
}

/// Returns a random id, as 22 characters of base64url.
pub(crate) fn random_id() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(random::<16>())
}

fn hash_bytes(bytes: &[u8]) -> Hash {
    digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system has random bytes");
    bytes
}
