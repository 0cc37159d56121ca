//! The claims of a token.

use rejoin_core::{Caps, Identity};
use rejoin_protocol::{DeviceId, UserId};
use serde::{Deserialize, Deserializer, Serialize, de::Error};

use crate::token::{MAX_ROLE_CONTEXT_BYTES, MAX_TOKEN_ID_BYTES, TokenError};

/// The claims of a token. Times are seconds since the epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// The user.
    pub sub: UserId,
    /// The expiry.
    #[serde(default, deserialize_with = "date", skip_serializing_if = "Option::is_none")]
    pub exp: Option<u64>,
    /// The time of issue.
    #[serde(default, deserialize_with = "date", skip_serializing_if = "Option::is_none")]
    pub iat: Option<u64>,
    /// The time before which the token is not valid.
    #[serde(default, deserialize_with = "date", skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// The issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// The audience.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<Audience>,
    /// The token's id, by which it can be revoked. At most 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// The device that the token is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
    /// The user's role in the program that made the token. At most 100 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_context: Option<String>,
    /// The rights. [`TokenRules::default_caps`](crate::TokenRules) if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caps: Option<Caps>,
}

/// The audience of a token: a name, or a list of names (RFC 7519 §4.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// One name.
    One(String),
    /// Several names.
    Many(Vec<String>),
}

impl Claims {
    /// Returns claims that only name a user.
    #[must_use]
    pub fn new(user: UserId) -> Self {
        Self {
            sub: user,
            exp: None,
            iat: None,
            nbf: None,
            iss: None,
            aud: None,
            jti: None,
            device_id: None,
            role_context: None,
            caps: None,
        }
    }

    /// Returns the identity that verified claims stand for.
    ///
    /// # Errors
    /// [`TokenError::Claims`] if `jti` or `role_context` is empty, too long, or has control
    /// characters.
    pub(crate) fn into_identity(self, default_caps: &Caps) -> Result<Identity, TokenError> {
        // Each connection keeps both, and lists show them.
        check_text("jti", self.jti.as_deref(), MAX_TOKEN_ID_BYTES)?;
        check_text("role_context", self.role_context.as_deref(), MAX_ROLE_CONTEXT_BYTES)?;

        Ok(Identity {
            user: self.sub,
            device: self.device_id,
            caps: self.caps.unwrap_or_else(|| default_caps.clone()),
            expires_at: self.exp.map(milliseconds),
            issued_at: self.iat.map(milliseconds),
            token_id: self.jti.map(Into::into),
            role_context: self.role_context.map(Into::into),
            browser_session: None,
        })
    }
}

impl From<&str> for Audience {
    fn from(name: &str) -> Self {
        Self::One(name.to_owned())
    }
}

impl From<String> for Audience {
    fn from(name: String) -> Self {
        Self::One(name)
    }
}

fn milliseconds(seconds: u64) -> u64 {
    // A token may name any date. One beyond the range never comes.
    seconds.saturating_mul(1000)
}

fn check_text(claim: &'static str, text: Option<&str>, max: usize) -> Result<(), TokenError> {
    match text {
        Some(text) if text.is_empty() || text.len() > max || text.contains(char::is_control) => {
            let rule = format!("must be 1 to {max} bytes without control characters");
            Err(TokenError::Claims(format!("the token's claim `{claim}` {rule}")))
        }
        _ => Ok(()),
    }
}

/// Deserializes a date. RFC 7519 §2 allows fractions of a second; they are cut off.
fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let Some(number) = Option::<serde_json::Number>::deserialize(deserializer)? else {
        return Ok(None);
    };
    if let Some(seconds) = number.as_u64() {
        return Ok(Some(seconds));
    }

    // The upper bound keeps the product with 1000 below 2^63.
    let seconds = number.as_f64().filter(|seconds| (0.0..1e15).contains(seconds));
    let Some(seconds) = seconds else {
        return Err(D::Error::custom(format!("{number} is not a date in seconds")));
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is checked, and only whole seconds count"
    )]
    let whole = seconds as u64;
    Ok(Some(whole))
}
