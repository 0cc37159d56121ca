//! Tokens: JWTs (RFC 7519), their claims, and the keys that verify them.

mod claims;
mod error;
pub(crate) mod jwk;
pub(crate) mod key;
pub(crate) mod key_file;

use std::time::Duration;

use rejoin_core::Caps;

pub use claims::{Audience, Claims};
pub use error::{InvalidKey, TokenError};

/// The longest token, in bytes. Longer ones are refused before any work is done for them.
pub(crate) const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// The longest `jti`, in bytes. Each connection and each revocation holds one.
pub(crate) const MAX_TOKEN_ID_BYTES: usize = 256;
/// The longest `role_context`, in bytes. Each connection holds one.
const MAX_ROLE_CONTEXT_BYTES: usize = 100;
/// The default difference that the clocks of issuer and server may have.
const DEFAULT_LEEWAY: Duration = Duration::from_secs(10);

/// The rules for tokens besides the signature.
#[derive(Clone, Debug)]
pub struct TokenRules {
    /// The issuer that must have made the token. `None`: any.
    pub issuer: Option<String>,
    /// The audience that the token must name. `None`: any, or none.
    pub audience: Option<String>,
    /// The difference that the clocks of issuer and server may have, in whole seconds.
    pub leeway: Duration,
    /// The rights of a token without `caps`. By default topics, and no terminals.
    pub default_caps: Caps,
}

impl Default for TokenRules {
    fn default() -> Self {
        Self { issuer: None, audience: None, leeway: DEFAULT_LEEWAY, default_caps: Caps::topics() }
    }
}
