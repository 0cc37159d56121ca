//! Keys that verify signatures, each with its algorithms.

use std::{collections::HashMap, fmt};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    VerificationAlgorithm,
};
use jsonwebtoken::{
    Algorithm::{self, ES256, ES384, EdDSA, HS256, PS256, PS384, PS512, RS256, RS384, RS512},
    DecodingKey, Validation, decode,
    errors::ErrorKind,
};

use crate::token::{Claims, InvalidKey, TokenError};

/// The algorithms of an RSA key, unless its JWK names one.
pub(crate) const RSA: &[Algorithm] = &[RS256, RS384, RS512, PS256, PS384, PS512];
/// The algorithm of an EC key on P-256.
pub(crate) const P256: &[Algorithm] = &[ES256];
/// The algorithm of an EC key on P-384.
pub(crate) const P384: &[Algorithm] = &[ES384];
/// The algorithm of an Ed25519 key.
pub(crate) const ED: &[Algorithm] = &[EdDSA];
/// The algorithm of a secret. No other key has it: a public key must not serve as a secret.
pub(crate) const SECRET: &[Algorithm] = &[HS256];

/// The maximum number of keys of one source. An issuer has two or three.
pub(crate) const MAX_KEYS: usize = 64;
/// The maximum number of signature checks for a token that names no key.
const MAX_TRIES: usize = 8;
/// The sizes of an RSA modulus that the signature check accepts, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A key that verifies signatures.
pub(crate) struct Key {
    /// The `kid` of tokens. A key without an id is tried for any token.
    id: Option<Box<str>>,
    /// The algorithms that the key verifies, all of one family.
    algorithms: &'static [Algorithm],
    decoding: DecodingKey,
}

/// The keys of one source.
#[derive(Debug, Default)]
pub(crate) struct KeySet(Box<[Key]>);

/// A token with the fields of its header, which are not trusted before a key verifies them.
pub(crate) struct UnverifiedToken<'a> {
    pub(crate) token: &'a str,
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: Option<String>,
}

impl Key {
    /// Returns a key from a shared secret.
    pub(crate) fn secret(secret: &[u8]) -> Self {
        Self { id: None, algorithms: SECRET, decoding: DecodingKey::from_secret(secret) }
    }

    /// Returns an RSA key from its modulus and exponent, as big-endian bytes.
    pub(crate) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, InvalidKey> {
        // DER integers have a leading zero byte if the first bit is set. The library accepts none.
        let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
        let modulus = &modulus[zeros..];
        let first = modulus.first().ok_or(InvalidKey::Damaged)?;
        let bits = modulus.len() * 8 - first.leading_zeros() as usize;
        if !RSA_BITS.contains(&bits) {
            return Err(InvalidKey::Kind);
        }

        let decoding = DecodingKey::from_rsa_raw_components(modulus, exponent);
        Ok(Self { id: None, algorithms: RSA, decoding })
    }

    /// Returns an EC key from an uncompressed point (SEC 1 §2.3.3): 65 bytes on P-256, 97 bytes
    /// on P-384.
    pub(crate) fn ec(point: &[u8], algorithms: &'static [Algorithm]) -> Result<Self, InvalidKey> {
        match algorithms {
            [ES256] => check_key(&ECDSA_P256_SHA256_FIXED, point)?,
            [ES384] => check_key(&ECDSA_P384_SHA384_FIXED, point)?,
            _ => return Err(InvalidKey::Kind),
        }
        Ok(Self { id: None, algorithms, decoding: DecodingKey::from_ec_der(point) })
    }

    /// Returns an Ed25519 key from its 32 bytes (RFC 8032 §5.1.5).
    pub(crate) fn ed25519(bytes: &[u8]) -> Result<Self, InvalidKey> {
        check_key(&ED25519, bytes)?;
        Ok(Self { id: None, algorithms: ED, decoding: DecodingKey::from_ed_der(bytes) })
    }

    /// Restricts the key to one of its algorithms.
    pub(crate) fn only_for(mut self, algorithm: Algorithm) -> Option<Self> {
        let index = self.algorithms.iter().position(|known| *known == algorithm)?;
        self.algorithms = &self.algorithms[index..=index];
        Some(self)
    }

    /// Sets the id.
    pub(crate) fn with_id(self, id: Option<Box<str>>) -> Self {
        Self { id, ..self }
    }
}

/// Checks that the bytes are a key of this algorithm, such as a point on its curve.
fn check_key(algorithm: &'static dyn VerificationAlgorithm, key: &[u8]) -> Result<(), InvalidKey> {
    // The JWT library accepts any bytes. A damaged key would then refuse all tokens silently.
    ParsedPublicKey::new(algorithm, key).map(drop).map_err(|_| InvalidKey::Damaged)
}

impl KeySet {
    /// Returns a set of at least one key.
    ///
    /// # Errors
    /// [`InvalidKey`] if there is no key, or more than any issuer needs.
    pub(crate) fn new(keys: Vec<Key>) -> Result<Self, InvalidKey> {
        match keys.len() {
            0 => Err(InvalidKey::NoKey),
            count if count > MAX_KEYS => Err(InvalidKey::TooMany { count, max: MAX_KEYS }),
            _ => Ok(Self(keys.into())),
        }
    }

    /// Returns the number of keys.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns `true` only for the default set, which stands for keys not yet fetched.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns `true` if a key has this id.
    pub(crate) fn has_id(&self, id: &str) -> bool {
        self.0.iter().any(|key| key.id.as_deref() == Some(id))
    }

    /// Returns the names of the algorithms of all keys, for an error message.
    pub(crate) fn algorithms(&self) -> String {
        let mut names: Vec<_> =
            self.0.iter().flat_map(|key| key.algorithms).map(|a| format!("{a:?}")).collect();
        names.sort();
        names.dedup();
        names.join(", ")
    }

    /// Verifies the signature, and applies the validation of the token's algorithm.
    ///
    /// The key decides which algorithms are allowed; the token only chooses among them.
    ///
    /// # Errors
    /// [`TokenError`] with the reason.
    pub(crate) fn verify(
        &self,
        token: &UnverifiedToken<'_>,
        validations: &HashMap<Algorithm, Validation>,
    ) -> Result<Claims, TokenError> {
        // A key without an id, as from PEM, matches any token; so does a token without one any key.
        let has_id = |key: &&Key| match (&key.id, &token.key_id) {
            (Some(id), Some(wanted)) => **id == **wanted,
            _ => true,
        };
        let has_algorithm = |key: &&Key| key.algorithms.contains(&token.algorithm);
        if !self.0.iter().any(|key| has_id(&key)) {
            return Err(TokenError::UnknownKey);
        }
        let Some(validation) = validations.get(&token.algorithm) else {
            return Err(TokenError::Algorithm { allowed: self.algorithms() });
        };

        let mut refusal = None;
        for key in self.0.iter().filter(has_id).filter(has_algorithm).take(MAX_TRIES) {
            match decode::<Claims>(token.token, &key.decoding, validation) {
                Ok(data) => return Ok(data.claims),
                // Another key without an id may have made the signature.
                Err(error) if *error.kind() == ErrorKind::InvalidSignature => {
                    refusal = Some(TokenError::Signature);
                }
                Err(error) => return Err(reason(error.into_kind())),
            }
        }
        Err(refusal.unwrap_or_else(|| TokenError::Algorithm { allowed: self.algorithms() }))
    }
}

/// Returns the reason of the library's error.
fn reason(kind: ErrorKind) -> TokenError {
    match kind {
        ErrorKind::ExpiredSignature => TokenError::Expired,
        ErrorKind::ImmatureSignature => TokenError::NotYetValid,
        ErrorKind::InvalidIssuer => TokenError::Issuer,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::MissingRequiredClaim(claim) => {
            TokenError::Claims(format!("the token has no claim `{claim}`"))
        }
        ErrorKind::InvalidClaimFormat(claim) => {
            TokenError::Claims(format!("the token's claim `{claim}` is malformed"))
        }
        ErrorKind::Json(error) => {
            TokenError::Claims(format!("the token's claims are malformed: {error}"))
        }
        _ => TokenError::Malformed,
    }
}

// A key must not reach a log.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, algorithms, .. } = self;
        f.debug_struct("Key")
            .field("id", id)
            .field("algorithms", algorithms)
            .finish_non_exhaustive()
    }
}
