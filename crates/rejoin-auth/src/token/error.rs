//! The reasons why a token or a key is refused.

use rejoin_protocol::{CloseCode, ErrorCode};

use crate::token::MAX_TOKEN_BYTES;

/// The reason why credentials are refused. The message is for the client that sent them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The token's `exp` is in the past.
    #[error("the token has expired")]
    Expired,
    /// The token's `nbf` is in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// No key that this server trusts has made the signature.
    #[error("the token's signature is not from a key that this server trusts")]
    Signature,
    /// The token names a key that the issuer does not have.
    #[error("the token names a key that this server does not know")]
    UnknownKey,
    /// The signature algorithm is not one of the key's.
    #[error("the token must be signed with {allowed}")]
    Algorithm {
        /// The allowed algorithms.
        allowed: String,
    },
    /// The token is from another issuer.
    #[error("the token is from another issuer")]
    Issuer,
    /// The token is for another audience.
    #[error("the token is for another audience")]
    Audience,
    /// A claim is missing or malformed.
    #[error("{0}")]
    Claims(String),
    /// The text is not a JWT.
    #[error("the token is not a JWT")]
    Malformed,
    /// The token is longer than any token needs to be.
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// An administrator has revoked the token or its user.
    #[error("the token was revoked")]
    Revoked,
    /// The ticket is spent, expired or unknown.
    #[error("the ticket is spent, has expired, or was never issued; request a new one")]
    Ticket,
    /// The browser session has ended.
    #[error("the log-in has ended; log in again")]
    LoggedOut,
    /// The login code is spent, expired or unknown.
    #[error(
        "the login link is spent, older than 15 minutes, or was never made; make a new one with \
         `rejoin token --link`"
    )]
    LoginCode,
    /// The issuer's keys could not be fetched. The token may be valid.
    #[error("the issuer's keys cannot be fetched now; try again later")]
    KeysUnavailable,
}

impl TokenError {
    /// Returns the reason's name in metrics, which never changes.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            // One label for both: a rotated key and a forged token look alike to an operator's
            // graph.
            Self::Signature | Self::UnknownKey => "signature",
            Self::Algorithm { .. } => "algorithm",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Claims(_) => "claims",
            Self::Malformed | Self::TooLong => "malformed",
            Self::Revoked => "revoked",
            Self::Ticket => "ticket",
            Self::LoggedOut => "logged_out",
            Self::LoginCode => "login_code",
            Self::KeysUnavailable => "keys_unavailable",
        }
    }

    /// Returns the error code and the close code that the client receives.
    #[must_use]
    pub fn codes(&self) -> (ErrorCode, CloseCode) {
        match self {
            Self::Expired | Self::NotYetValid => (ErrorCode::TokenExpired, CloseCode::TokenExpired),
            // A close code that lets the client reconnect: the token may be valid.
            Self::KeysUnavailable => (ErrorCode::KeysUnavailable, CloseCode::Overloaded),
            Self::Revoked => (ErrorCode::TokenRevoked, CloseCode::AuthenticationFailed),
            _ => (ErrorCode::AuthenticationFailed, CloseCode::AuthenticationFailed),
        }
    }
}

/// The reason why a key, or a source of keys, cannot be used. No message contains a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// The secret is too short to sign with.
    #[error("an HS256 secret must be at least {min} bytes, not {bytes}")]
    ShortSecret {
        /// The shortest allowed secret, in bytes.
        min: usize,
        /// The length of this secret, in bytes.
        bytes: usize,
    },
    /// The text is neither PEM nor a JWK set.
    #[error(
        "no key found; allowed are PEM (`PUBLIC KEY`, `RSA PUBLIC KEY`, `CERTIFICATE`) and a JWK \
         set"
    )]
    NoKey,
    /// The key is a private one.
    #[error(
        "this is a private key; use its public key, and create a new pair if others may have seen this one"
    )]
    Private,
    /// A PEM block is not a public key.
    #[error(
        "`{label}` is not a public key; allowed are `PUBLIC KEY`, `RSA PUBLIC KEY`, `CERTIFICATE`"
    )]
    Label {
        /// The label of the block.
        label: String,
    },
    /// The key is of a type or size that is not supported.
    #[error("the key must be RSA (2048 to 8192 bits), EC (P-256, P-384) or Ed25519")]
    Kind,
    /// The key cannot be parsed.
    #[error("the key is damaged")]
    Damaged,
    /// The text is not a JWK set.
    #[error("this is not a JWK set: {0}")]
    Jwks(String),
    /// The source has more keys than any issuer needs.
    #[error("there are {count} keys; at most {max} are allowed")]
    TooMany {
        /// The number of keys.
        count: usize,
        /// The maximum number of keys.
        max: usize,
    },
    /// Keys must not be fetched from this URL.
    #[error(
        "{url:?} is not an address for keys; write https://HOST/PATH (http:// only to this machine)"
    )]
    Url {
        /// The URL.
        url: String,
    },
    /// The machine trusts no certificate authority.
    #[error("the machine's trusted certificates cannot be read: {0}")]
    Roots(String),
}
