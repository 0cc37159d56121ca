//! The signer of tokens: the server's own secret.

use std::fmt;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};

use crate::{
    token::{Claims, InvalidKey, TokenError},
    verifier::Verifier,
};

/// The shortest secret for HS256, in bytes (RFC 7518 §3.2).
const MIN_SECRET_BYTES: usize = 32;

/// A secret that signs tokens with HS256.
#[derive(Clone)]
pub struct Signer {
    key: EncodingKey,
    verifier: Verifier,
}

impl Signer {
    /// Returns the signer with this secret.
    ///
    /// # Errors
    /// [`InvalidKey::ShortSecret`] if the secret is shorter than 32 bytes.
    pub fn hs256(secret: &[u8]) -> Result<Self, InvalidKey> {
        if secret.len() < MIN_SECRET_BYTES {
            return Err(InvalidKey::ShortSecret { min: MIN_SECRET_BYTES, bytes: secret.len() });
        }
        Ok(Self { key: EncodingKey::from_secret(secret), verifier: Verifier::of_secret(secret) })
    }

    /// Signs a token.
    ///
    /// # Errors
    /// [`TokenError::Claims`] if the claims cannot be serialized.
    pub fn sign(&self, claims: &Claims) -> Result<String, TokenError> {
        // No `kid`: the server has only one secret.
        encode(&Header::new(Algorithm::HS256), claims, &self.key)
            .map_err(|error| TokenError::Claims(error.to_string()))
    }

    /// Returns the verifier of this secret's tokens, with the default rules.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        self.verifier.clone()
    }
}

// A key must not reach a log.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}
