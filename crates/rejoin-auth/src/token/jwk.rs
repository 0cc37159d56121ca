//! JWK sets (RFC 7517): from a file, or from an issuer.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::value::RawValue;
use tracing::debug;

use crate::token::{
    InvalidKey,
    key::{Key, KeySet, MAX_KEYS, P256, P384},
};

/// The first byte of an uncompressed point (SEC 1 §2.3.3).
const UNCOMPRESSED: u8 = 4;

#[derive(Deserialize)]
struct Set<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

/// One key. Its parameters depend on `kty` (RFC 7518 §6).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// A part of a private key.
    d: Option<serde::de::IgnoredAny>,
}

/// Parses the keys of an issuer. Skips keys that do not verify tokens.
///
/// # Errors
/// [`InvalidKey`] if the text is not a JWK set, too long, or has no usable key.
pub(crate) fn parse_issuer(text: &[u8]) -> Result<KeySet, InvalidKey> {
    let mut keys = Vec::new();
    // One by one: a key with unknown fields or types must not invalidate the whole set.
    for (index, raw) in parse_set(text)?.keys.into_iter().enumerate() {
        match key(raw) {
            Ok(key) => keys.push(key),
            Err(reason) => debug!(index, reason, "a key of a JWK set is not used"),
        }
    }
    KeySet::new(keys)
}

/// Parses the keys of a file, which must not have a private key.
///
/// # Errors
/// As [`parse_issuer`], and [`InvalidKey::Private`].
pub(crate) fn parse_file(text: &[u8]) -> Result<KeySet, InvalidKey> {
    let keys = parse_set(text)?.keys;
    let is_private = |raw: &&RawValue| {
        serde_json::from_str(raw.get()).is_ok_and(|jwk: Jwk| jwk.d.is_some() || jwk.kty == "oct")
    };
    if keys.iter().any(is_private) {
        return Err(InvalidKey::Private);
    }
    parse_issuer(text)
}

fn parse_set(text: &[u8]) -> Result<Set<'_>, InvalidKey> {
    let set: Set<'_> =
        serde_json::from_slice(text).map_err(|error| InvalidKey::Jwks(error.to_string()))?;
    match set.keys.len() {
        count if count > MAX_KEYS => Err(InvalidKey::TooMany { count, max: MAX_KEYS }),
        _ => Ok(set),
    }
}

/// Returns the key, or the reason why it does not verify tokens.
fn key(raw: &RawValue) -> Result<Key, &'static str> {
    let jwk: Jwk = serde_json::from_str(raw.get()).map_err(|_| "not a JWK")?;
    if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
        return Err("`use` is not `sig`");
    }
    if jwk.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify")) {
        return Err("`key_ops` does not have `verify`");
    }

    let damaged = |_| "damaged, or of a size that is not supported";
    let key = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => Key::rsa(&bytes(&jwk.n)?, &bytes(&jwk.e)?).map_err(damaged)?,
        ("EC", Some("P-256")) => Key::ec(&point(&jwk)?, P256).map_err(damaged)?,
        ("EC", Some("P-384")) => Key::ec(&point(&jwk)?, P384).map_err(damaged)?,
        ("OKP", Some("Ed25519")) => Key::ed25519(&bytes(&jwk.x)?).map_err(damaged)?,
        // A published secret is not secret. An attacker could also sign tokens with HS256 and an
        // issuer's public key as the secret.
        ("oct", _) => return Err("a secret"),
        _ => return Err("`kty` or `crv` is not supported"),
    };

    let key = match jwk.alg.as_deref() {
        // RFC 9864 gives EdDSA with this curve its own name.
        Some("Ed25519") => key.only_for(Algorithm::EdDSA),
        Some(name) => name.parse().ok().and_then(|algorithm| key.only_for(algorithm)),
        None => Some(key),
    };
    let key = key.ok_or("`alg` is not an algorithm of the key")?;
    Ok(key.with_id(jwk.kid.map(Into::into)))
}

fn point(jwk: &Jwk) -> Result<Vec<u8>, &'static str> {
    Ok([&[UNCOMPRESSED], &*bytes(&jwk.x)?, &*bytes(&jwk.y)?].concat())
}

fn bytes(text: &Option<String>) -> Result<Vec<u8>, &'static str> {
    let text = text.as_deref().ok_or("a parameter is missing")?;
    BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| "not base64url")
}
