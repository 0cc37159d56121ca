//! Tokens for any number of users, signed with the server's own secret.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The secret that the server under test made for itself.
pub(crate) struct Signer {
    key: hmac::Key,
}

impl Signer {
    pub(crate) fn new(secret: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// A token of this user.
    pub(crate) fn sign(&self, user: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let claims = json!({"sub": user, "exp": (now + LIFETIME).as_secs()}).to_string();
        self.sign_claims(&claims)
    }

    fn sign_claims(&self, claims: &str) -> String {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = hmac::sign(&self.key, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_signed_as_any_other_signer_does_it() {
        // Made with Python's hmac and base64.
        let expected = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ1MSJ9.2sySZh7e6CNy1OqNK_2R6EgAvpbxmUMur0WRM6Y9n3c";
        assert_eq!(
            Signer::new(b"0123456789abcdef0123456789abcdef").sign_claims(r#"{"sub":"u1"}"#),
            expected
        );
    }
}
