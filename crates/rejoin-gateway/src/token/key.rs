//! Keys that verify, each with the algorithms that it is for.

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

/// What an RSA key is for, unless its JWK says which one.
pub(super) const RSA: &[Algorithm] = &[RS256, RS384, RS512, PS256, PS384, PS512];
/// What an EC key on P-256 is for.
pub(super) const P256: &[Algorithm] = &[ES256];
/// What an EC key on P-384 is for.
pub(super) const P384: &[Algorithm] = &[ES384];
/// What an Ed25519 key is for.
pub(super) const ED: &[Algorithm] = &[EdDSA];
/// What a secret is for, and nothing else is.
pub(super) const SECRET: &[Algorithm] = &[HS256];

/// How many keys one source may have; an issuer has two or three.
pub(super) const MAX_KEYS: usize = 64;
/// How many signatures are checked for one token, which names no key.
const MAX_TRIES: usize = 8;
/// What `verify` accepts as an RSA modulus, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A key that verifies.
pub(super) struct Key {
    /// By which tokens name it; a key without one may be meant by any token.
    id: Option<Box<str>>,
    /// What a token may be signed with by this key; all of one family.
    algorithms: &'static [Algorithm],
    decoding: DecodingKey,
}

/// The keys of one source.
#[derive(Debug, Default)]
pub(super) struct KeySet(Box<[Key]>);

/// What a token says of its own signature, not to be believed before the key agrees.
pub(super) struct Signed<'a> {
    pub(super) token: &'a str,
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
}

impl Key {
    pub(super) fn secret(secret: &[u8]) -> Self {
        Self { id: None, algorithms: SECRET, decoding: DecodingKey::from_secret(secret) }
    }

    /// An RSA key of modulus and exponent, as big-endian bytes.
    pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, InvalidKey> {
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

    /// A point on P-256 (65 bytes) or P-384 (97 bytes), uncompressed (SEC 1 §2.3.3).
    pub(super) fn ec(point: &[u8], algorithms: &'static [Algorithm]) -> Result<Self, InvalidKey> {
        match algorithms {
            [ES256] => proven(&ECDSA_P256_SHA256_FIXED, point)?,
            [ES384] => proven(&ECDSA_P384_SHA384_FIXED, point)?,
            _ => return Err(InvalidKey::Kind),
        }
        Ok(Self { id: None, algorithms, decoding: DecodingKey::from_ec_der(point) })
    }

    /// An Ed25519 key of 32 bytes (RFC 8032 §5.1.5).
    pub(super) fn ed25519(bytes: &[u8]) -> Result<Self, InvalidKey> {
        proven(&ED25519, bytes)?;
        Ok(Self { id: None, algorithms: ED, decoding: DecodingKey::from_ed_der(bytes) })
    }

    /// The same key, for this algorithm only, if it is one of those that it is for.
    pub(super) fn only_for(mut self, algorithm: Algorithm) -> Option<Self> {
        let index = self.algorithms.iter().position(|known| *known == algorithm)?;
        self.algorithms = &self.algorithms[index..=index];
        Some(self)
    }

    pub(super) fn named(self, id: Option<Box<str>>) -> Self {
        Self { id, ..self }
    }
}

fn proven(algorithm: &'static dyn VerificationAlgorithm, bytes: &[u8]) -> Result<(), InvalidKey> {
    ParsedPublicKey::new(algorithm, bytes).map(drop).map_err(|_| InvalidKey::Damaged)
}

impl KeySet {
    /// # Errors
    /// [`InvalidKey`] if there is none, or more than any issuer needs.
    pub(super) fn new(keys: Vec<Key>) -> Result<Self, InvalidKey> {
        match keys.len() {
            0 => Err(InvalidKey::NoKey),
            count if count > MAX_KEYS => Err(InvalidKey::TooMany { count, max: MAX_KEYS }),
            _ => Ok(Self(keys.into())),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a key has this id.
    pub(super) fn knows(&self, id: &str) -> bool {
        self.0.iter().any(|key| key.id.as_deref() == Some(id))
    }

    /// The names of what these keys are for, for a sentence.
    pub(super) fn allowed(&self) -> String {
        let mut names: Vec<_> =
            self.0.iter().flat_map(|key| key.algorithms).map(|a| format!("{a:?}")).collect();
        names.sort();
        names.dedup();
        names.join(", ")
    }

    /// Checks the signature, and with it what the validation of the token's algorithm asks.
    ///
    /// The key decides which algorithms are right for it; the token only chooses among them.
    ///
    /// # Errors
    /// [`TokenError`] with what is wrong.
    pub(super) fn check(
        &self,
        signed: &Signed<'_>,
        validations: &HashMap<Algorithm, Validation>,
    ) -> Result<Claims, TokenError> {
        let meant = |key: &&Key| match (&key.id, &signed.key_id) {
            (Some(id), Some(wanted)) => **id == **wanted,
            _ => true,
        };
        if !self.0.iter().any(|key| meant(&key)) {
            return Err(TokenError::UnknownKey);
        }
        let fits = |key: &&Key| key.algorithms.contains(&signed.algorithm);
        let Some(validation) = validations.get(&signed.algorithm) else {
            return Err(TokenError::Algorithm { allowed: self.allowed() });
        };
        let mut refusal = None;
        for key in self.0.iter().filter(meant).filter(fits).take(MAX_TRIES) {
            match decode::<Claims>(signed.token, &key.decoding, validation) {
                Ok(data) => return Ok(data.claims),
                Err(error) if *error.kind() == ErrorKind::InvalidSignature => {
                    refusal = Some(TokenError::Signature);
                }
                Err(error) => return Err(explain(error.into_kind())),
            }
        }
        Err(refusal.unwrap_or_else(|| TokenError::Algorithm { allowed: self.allowed() }))
    }
}

fn explain(kind: ErrorKind) -> TokenError {
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
            TokenError::Claims(format!("the token's claims are not as they must be: {error}"))
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
