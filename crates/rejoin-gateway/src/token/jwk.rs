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

/// How an uncompressed point begins (SEC 1 §2.3.3).
const UNCOMPRESSED: u8 = 4;

#[derive(Deserialize)]
struct Set<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

/// One key; what it is made of depends on `kty` (RFC 7518 §6).
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
    /// Part of a private key.
    d: Option<serde::de::IgnoredAny>,
}

/// The keys of an issuer; those that are for something else are passed over.
///
/// # Errors
/// [`InvalidKey`] if it is no JWK set, too long, or has no key that can be used.
pub(super) fn read(text: &[u8]) -> Result<KeySet, InvalidKey> {
    let mut keys = Vec::new();
    for (index, raw) in parse(text)?.keys.into_iter().enumerate() {
        match key(raw) {
            Ok(key) => keys.push(key),
            Err(why) => debug!(index, why, "a key of a JWK set is not used"),
        }
    }
    KeySet::new(keys)
}

/// The keys of a file, in which no private key may be.
///
/// # Errors
/// As [`read`], and [`InvalidKey::Private`].
pub(super) fn read_file(text: &[u8]) -> Result<KeySet, InvalidKey> {
    let keys = parse(text)?.keys;
    let is_private = |raw: &&RawValue| {
        serde_json::from_str(raw.get()).is_ok_and(|jwk: Jwk| jwk.d.is_some() || jwk.kty == "oct")
    };
    if keys.iter().any(is_private) {
        return Err(InvalidKey::Private);
    }
    read(text)
}

fn parse(text: &[u8]) -> Result<Set<'_>, InvalidKey> {
    let set: Set<'_> =
        serde_json::from_slice(text).map_err(|error| InvalidKey::Jwks(error.to_string()))?;
    match set.keys.len() {
        count if count > MAX_KEYS => Err(InvalidKey::TooMany { count, max: MAX_KEYS }),
        _ => Ok(set),
    }
}

/// The key, or why it is not one that verifies tokens.
fn key(raw: &RawValue) -> Result<Key, &'static str> {
    let jwk: Jwk = serde_json::from_str(raw.get()).map_err(|_| "not a JWK")?;
    if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
        return Err("`use` is not `sig`");
    }
    if jwk.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify")) {
        return Err("`key_ops` does not have `verify`");
    }
    let damaged = |_| "damaged, or of a size that is not used";
    let key = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => Key::rsa(&bytes(&jwk.n)?, &bytes(&jwk.e)?).map_err(damaged)?,
        ("EC", Some("P-256")) => Key::ec(&point(&jwk)?, P256).map_err(damaged)?,
        ("EC", Some("P-384")) => Key::ec(&point(&jwk)?, P384).map_err(damaged)?,
        ("OKP", Some("Ed25519")) => Key::ed25519(&bytes(&jwk.x)?).map_err(damaged)?,
        // A secret that is published is none. It would also let an issuer's public key, sent as
        // a secret, sign tokens.
        ("oct", _) => return Err("a secret"),
        _ => return Err("`kty` or `crv` of a kind that is not used"),
    };
    let key = match jwk.alg.as_deref() {
        // RFC 9864 has a name of its own for it.
        Some("Ed25519") => key.only_for(Algorithm::EdDSA),
        Some(name) => name.parse().ok().and_then(|algorithm| key.only_for(algorithm)),
        None => Some(key),
    };
    let key = key.ok_or("`alg` is not for such a key")?;
    Ok(key.named(jwk.kid.map(Into::into)))
}

fn point(jwk: &Jwk) -> Result<Vec<u8>, &'static str> {
    Ok([&[UNCOMPRESSED], &*bytes(&jwk.x)?, &*bytes(&jwk.y)?].concat())
}

fn bytes(text: &Option<String>) -> Result<Vec<u8>, &'static str> {
    let text = text.as_deref().ok_or("a part is missing")?;
    BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| "not base64url")
}
