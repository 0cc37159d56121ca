//! Tokens: JWTs (RFC 7519), signed with HS256 and really verified (B1, C2).

use std::fmt;

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode, errors::ErrorKind,
};
use rejoin_core::{Caps, Identity};
use rejoin_protocol::{DeviceId, UserId};
use serde::{Deserialize, Serialize};

/// The shortest secret for HS256, in bytes (RFC 7518 §3.2).
const MIN_SECRET_BYTES: usize = 32;
/// How far the clocks of issuer and server may differ, in seconds.
const LEEWAY_SECONDS: u64 = 10;

/// A secret that is too short to sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an HS256 secret must be at least {MIN_SECRET_BYTES} bytes, not {0}")]
pub struct InvalidKey(usize);

/// What a token says; times are seconds since the epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// The user.
    pub sub: UserId,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<u64>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<u64>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// For whom it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    /// The device that it was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
    /// What it allows; the configuration's default if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caps: Option<Caps>,
}

/// What is asked of tokens besides the signature.
#[derive(Clone, Debug)]
pub struct TokenRules {
    /// The issuer that must have made them; `None`: any.
    pub issuer: Option<String>,
    /// The audience that they must be for; `None`: any, or none.
    pub audience: Option<String>,
    /// What a token without `caps` allows; by default topics, and no terminals.
    pub default_caps: Caps,
}

impl Default for TokenRules {
    fn default() -> Self {
        Self { issuer: None, audience: None, default_caps: Caps::topics() }
    }
}

/// Why a token is refused. The sentence is for the one who sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It was valid once.
    #[error("the token has expired")]
    Expired,
    /// It will be valid later.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Anything else.
    #[error("{0}")]
    Invalid(String),
}

/// The key that signs and verifies tokens.
#[derive(Clone)]
pub struct TokenKey {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl TokenKey {
    /// A shared secret for HS256.
    ///
    /// # Errors
    /// [`InvalidKey`] if the secret is shorter than 32 bytes.
    pub fn hs256(secret: &[u8]) -> Result<Self, InvalidKey> {
        if secret.len() < MIN_SECRET_BYTES {
            return Err(InvalidKey(secret.len()));
        }
        Ok(Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
        })
    }

    /// Signs a token.
    ///
    /// # Errors
    /// [`TokenError::Invalid`] if the claims cannot be written.
    pub fn sign(&self, claims: &Claims) -> Result<String, TokenError> {
        encode(&Header::new(Algorithm::HS256), claims, &self.encoding)
            .map_err(|error| TokenError::Invalid(error.to_string()))
    }

    /// Verifies a token: its signature, its times, and what the rules ask.
    ///
    /// The algorithm is the key's, never the token's word.
    ///
    /// # Errors
    /// [`TokenError`] with what is wrong.
    pub fn verify(&self, token: &str, rules: &TokenRules) -> Result<Identity, TokenError> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        let mut required = vec!["sub"];
        match &rules.audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                required.push("aud");
            }
            None => validation.validate_aud = false,
        }
        if let Some(issuer) = &rules.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        let claims = decode::<Claims>(token, &self.decoding, &validation).map_err(explain)?.claims;
        Ok(Identity {
            user: claims.sub,
            device: claims.device_id,
            caps: claims.caps.unwrap_or_else(|| rules.default_caps.clone()),
            expires_at: claims.exp.map(|seconds| seconds.saturating_mul(1000)),
            issued_at: claims.iat.map(|seconds| seconds.saturating_mul(1000)),
            token_id: None,
            role_context: None,
        })
    }
}

// A key must not reach a log.
impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey").finish_non_exhaustive()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of map_err")]
fn explain(error: jsonwebtoken::errors::Error) -> TokenError {
    let sentence = match error.kind() {
        ErrorKind::ExpiredSignature => return TokenError::Expired,
        ErrorKind::ImmatureSignature => return TokenError::NotYetValid,
        ErrorKind::InvalidSignature => "the token's signature is not from this server's key".into(),
        ErrorKind::InvalidAlgorithm
        | ErrorKind::InvalidAlgorithmName
        | ErrorKind::UnsupportedAlgorithm
        | ErrorKind::MissingAlgorithm => "the token must be signed with HS256".into(),
        ErrorKind::InvalidIssuer => "the token is from another issuer".into(),
        ErrorKind::InvalidAudience => "the token is for another audience".into(),
        ErrorKind::MissingRequiredClaim(claim) => format!("the token has no claim `{claim}`"),
        ErrorKind::InvalidClaimFormat(claim) => format!("the token's claim `{claim}` is malformed"),
        ErrorKind::Json(error) => format!("the token's claims are not as they must be: {error}"),
        _ => "the token is not a JWT".into(),
    };
    TokenError::Invalid(sentence)
}
