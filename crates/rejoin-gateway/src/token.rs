//! Tokens: JWTs (RFC 7519), signed here or by an issuer, and really verified (B1, C2).

mod claims;
mod error;
mod fetch;
mod jwk;
mod jwks;
mod key;
mod pem;
mod signer;
mod verifier;

use std::time::Duration;

use rejoin_core::Caps;

pub use claims::{Audience, Claims};
pub use error::{InvalidKey, TokenError};
pub use fetch::JwksUrl;
pub use signer::Signer;
pub use verifier::Verifier;

/// The longest token that is looked at, in bytes; what follows from it costs memory and time.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// The longest `jti`, in bytes; each connection holds one, and so does each revocation.
pub(crate) const MAX_TOKEN_ID_BYTES: usize = 256;
/// The longest `role_context`, in bytes; each connection holds one.
const MAX_ROLE_CONTEXT_BYTES: usize = 100;
/// How far the clocks of issuer and server may differ, if nobody says otherwise.
const DEFAULT_LEEWAY: Duration = Duration::from_secs(10);

/// What is asked of tokens besides the signature.
#[derive(Clone, Debug)]
pub struct TokenRules {
    /// The issuer that must have made them; `None`: any.
    pub issuer: Option<String>,
    /// The audience that they must be for, among others; `None`: any, or none.
    pub audience: Option<String>,
    /// How far the clocks of issuer and server may differ, in whole seconds.
    pub leeway: Duration,
    /// What a token without `caps` allows; by default topics, and no terminals.
    pub default_caps: Caps,
}

impl Default for TokenRules {
    fn default() -> Self {
        Self { issuer: None, audience: None, leeway: DEFAULT_LEEWAY, default_caps: Caps::topics() }
    }
}
