//! Public keys of a file: PEM (RFC 7468), or a JWK set.

use pkcs1::RsaPublicKeyRef;
use x509_cert::{
    Certificate,
    der::{
        Decode,
        oid::db::{
            rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_256_R_1, SECP_384_R_1},
            rfc8410::ID_ED_25519,
        },
        referenced::OwnedToRef,
    },
    spki::SubjectPublicKeyInfoRef,
};

use crate::token::{
    InvalidKey, jwk,
    key::{Key, KeySet, P256, P384},
};

/// Parses the keys of a file.
///
/// # Errors
/// [`InvalidKey`] if any key cannot be used. A file is written by an administrator, who must
/// learn about each mistake; an issuer's JWK set may have keys for other uses.
pub(crate) fn parse(text: &[u8]) -> Result<KeySet, InvalidKey> {
    if text.trim_ascii_start().starts_with(b"{") {
        return jwk::parse_file(text);
    }
    let blocks = pem::parse_many(text).map_err(|_| InvalidKey::Damaged)?;
    KeySet::new(blocks.iter().map(parse_block).collect::<Result<_, _>>()?)
}

fn parse_block(block: &pem::Pem) -> Result<Key, InvalidKey> {
    let der = block.contents();
    match block.tag() {
        "PUBLIC KEY" => {
            let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| InvalidKey::Damaged)?;
            subject_public_key(&info)
        }
        "RSA PUBLIC KEY" => rsa(der),
        "CERTIFICATE" => {
            let certificate = Certificate::from_der(der).map_err(|_| InvalidKey::Damaged)?;
            let info = certificate.tbs_certificate().subject_public_key_info();
            subject_public_key(&info.owned_to_ref())
        }
        // An error of its own: a private key must not lie in this file.
        label if label.ends_with("PRIVATE KEY") => Err(InvalidKey::Private),
        label => Err(InvalidKey::Label { label: label.to_owned() }),
    }
}

/// Returns the key of a `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7).
fn subject_public_key(info: &SubjectPublicKeyInfoRef<'_>) -> Result<Key, InvalidKey> {
    // `None` if the bit string does not end with a whole byte.
    let key = info.subject_public_key.as_bytes().ok_or(InvalidKey::Damaged)?;
    match info.algorithm.oid {
        RSA_ENCRYPTION => rsa(key),
        ID_ED_25519 => Key::ed25519(key),
        ID_EC_PUBLIC_KEY => match info.algorithm.parameters_oid() {
            // Only named curves: explicit parameters could describe a curve that an attacker chose.
            Ok(SECP_256_R_1) => Key::ec(key, P256),
            Ok(SECP_384_R_1) => Key::ec(key, P384),
            _ => Err(InvalidKey::Kind),
        },
        _ => Err(InvalidKey::Kind),
    }
}

/// Returns the key of an `RSAPublicKey` (RFC 8017 appendix A.1.1).
fn rsa(der: &[u8]) -> Result<Key, InvalidKey> {
    let key = RsaPublicKeyRef::from_der(der).map_err(|_| InvalidKey::Damaged)?;
    Key::rsa(key.modulus.as_bytes(), key.public_exponent.as_bytes())
}
