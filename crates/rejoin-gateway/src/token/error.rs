//! Why a token or a key is refused.

use rejoin_protocol::{CloseCode, ErrorCode};

use crate::token::MAX_TOKEN_BYTES;

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
    /// No key that this server trusts has signed it.
    #[error("the token's signature is not from a key that this server trusts")]
    Signature,
    /// It names a key that the issuer does not have.
    #[error("the token names a key that this server does not know")]
    UnknownKey,
    /// It is signed in a way that its key is not for.
    #[error("the token must be signed with {allowed}")]
    Algorithm {
        /// What is allowed.
        allowed: String,
    },
    /// Somebody else made it.
    #[error("the token is from another issuer")]
    Issuer,
    /// It was made for somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// A claim is missing or not as it must be.
    #[error("{0}")]
    Claims(String),
    /// It is not a JWT.
    #[error("the token is not a JWT")]
    Malformed,
    /// It is longer than any token needs to be.
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// An administrator has revoked it.
    #[error("the token was revoked")]
    Revoked,
    /// A ticket lets nobody in, or nobody any more.
    #[error("the ticket is spent, too old, or was never issued; ask for a new one")]
    Ticket,
    /// A cookie's browser session has ended.
    #[error("the log-in has ended; log in again")]
    LoggedOut,
    /// A login code lets nobody in, or nobody any more.
    #[error(
        "the login link is spent, older than 15 minutes, or was never made; `rejoin token --link` makes one"
    )]
    LoginCode,
    /// The issuer's keys could not be fetched: the token may be good.
    #[error("the issuer's keys cannot be fetched now; try again later")]
    KeysUnavailable,
}

impl TokenError {
    /// The name under which it is counted; it never changes.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
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

    /// What a client is told: the code of the error, and of the close.
    pub(crate) fn codes(&self) -> (ErrorCode, CloseCode) {
        match self {
            Self::Expired | Self::NotYetValid => (ErrorCode::TokenExpired, CloseCode::TokenExpired),
            // The token may be good.
            Self::KeysUnavailable => (ErrorCode::KeysUnavailable, CloseCode::Overloaded),
            Self::Revoked => (ErrorCode::TokenRevoked, CloseCode::AuthenticationFailed),
            _ => (ErrorCode::AuthenticationFailed, CloseCode::AuthenticationFailed),
        }
    }
}

/// Why a key, or where keys come from, cannot be used. No sentence tells a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// A secret that is too short to sign with.
    #[error("an HS256 secret must be at least {min} bytes, not {bytes}")]
    ShortSecret {
        /// What it must have.
        min: usize,
        /// What it has.
        bytes: usize,
    },
    /// Neither PEM nor a JWK set.
    #[error(
        "there is no key; allowed are PEM (`PUBLIC KEY`, `RSA PUBLIC KEY`, `CERTIFICATE`) and a JWK set"
    )]
    NoKey,
    /// Somebody gave away what must be kept.
    #[error(
        "this is a private key; give its public key, and make a new pair if others saw this one"
    )]
    Private,
    /// A block of PEM that is not a public key.
    #[error(
        "`{label}` is not a public key; allowed are `PUBLIC KEY`, `RSA PUBLIC KEY`, `CERTIFICATE`"
    )]
    Label {
        /// What it says that it is.
        label: String,
    },
    /// A key of a kind that signs no token here.
    #[error("the key must be RSA (2048 to 8192 bits), EC (P-256, P-384) or Ed25519")]
    Kind,
    /// A key that is broken.
    #[error("the key is damaged")]
    Damaged,
    /// A JWK set that is none.
    #[error("this is not a JWK set: {0}")]
    Jwks(String),
    /// More keys than any issuer needs.
    #[error("there are {count} keys; at most {max} are allowed")]
    TooMany {
        /// What there are.
        count: usize,
        /// What there may be.
        max: usize,
    },
    /// An address from which keys must not be fetched.
    #[error(
        "{url:?} is not an address for keys; write https://HOST/PATH (http:// only to this machine)"
    )]
    Url {
        /// The address.
        url: String,
    },
    /// The machine trusts no authority, so no issuer can prove who it is.
    #[error("the machine's trusted certificates cannot be read: {0}")]
    Roots(String),
}
