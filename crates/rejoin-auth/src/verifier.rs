//! The verifier of tokens: keys, rules, revocations and browser sessions.

use std::{collections::HashMap, sync::Arc};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, Validation};
use rejoin_core::{Identity, Shutdown, now_ms};
use serde::Deserialize;

use crate::{
    browser_session::BrowserSessions,
    issuer::{Issuer, JwksUrl},
    revocation::Revocations,
    token::{
        Claims, InvalidKey, MAX_TOKEN_BYTES, TokenError, TokenRules,
        key::{ED, Key, KeySet, P256, P384, RSA, SECRET, UnverifiedToken},
        key_file,
    },
};

/// A verifier of tokens. Cheap to clone.
///
/// ```
/// use rejoin_auth::{Claims, Signer, TokenRules};
/// use rejoin_core::Caps;
/// use rejoin_protocol::UserId;
///
/// let signer = Signer::hs256(b"at least thirty-two bytes of secret")?;
/// let rules = TokenRules { default_caps: Caps::user(), ..TokenRules::default() };
/// let verifier = signer.verifier().with_rules(rules);
///
/// let token = signer.sign(&Claims::new(UserId::new("ann")?))?;
/// let identity = verifier.verify_at_once(&token).expect("a secret is never fetched")?;
/// assert_eq!(identity.user.as_str(), "ann");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Verifier {
    keys: Keys,
    rules: Arc<TokenRules>,
    /// The rules in the form that the library takes, for each algorithm.
    validations: Arc<HashMap<Algorithm, Validation>>,
    revocations: Option<Revocations>,
    browser_sessions: Option<BrowserSessions>,
}

/// The source of keys.
#[derive(Clone, Debug)]
enum Keys {
    /// Keys of the configuration, which never change.
    Fixed(Arc<KeySet>),
    /// Keys of an issuer, which may change.
    Fetched(Issuer),
}

/// The fields of a token's header that are read (RFC 7515 §4.1).
///
/// Fields such as `jwk` and `jku` are ignored: they would let a token bring its own key.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde::de::IgnoredAny>,
}

impl Verifier {
    /// Returns a verifier with the public keys of a file: PEM, or a JWK set.
    ///
    /// # Errors
    /// [`InvalidKey`] if there is no key, or one of them is private, damaged or not supported.
    pub fn public_keys(text: &[u8]) -> Result<Self, InvalidKey> {
        Ok(Self::new(Keys::Fixed(Arc::new(key_file::parse(text)?))))
    }

    /// Returns a verifier with the public keys of a JWK set, fetched by a task of `shutdown`.
    ///
    /// The task fetches the keys every 10 minutes, and when a token names an unknown key, at
    /// most every 30 seconds. While the issuer cannot be reached, the known keys stay.
    ///
    /// # Errors
    /// [`InvalidKey::Roots`] if the machine trusts no certificate authority.
    pub fn jwks(url: JwksUrl, shutdown: &Shutdown) -> Result<Self, InvalidKey> {
        Ok(Self::new(Keys::Fetched(Issuer::start(url, shutdown)?)))
    }

    /// Returns a verifier with a shared secret.
    pub(crate) fn of_secret(secret: &[u8]) -> Self {
        let keys = KeySet::new(vec![Key::secret(secret)]).expect("one key is allowed");
        Self::new(Keys::Fixed(Arc::new(keys)))
    }

    fn new(keys: Keys) -> Self {
        let rules = TokenRules::default();
        let validations = Arc::new(validations(&rules));
        Self {
            keys,
            rules: Arc::new(rules),
            validations,
            revocations: None,
            browser_sessions: None,
        }
    }

    /// Replaces the rules.
    #[must_use]
    pub fn with_rules(self, rules: TokenRules) -> Self {
        let validations = Arc::new(validations(&rules));
        Self { rules: Arc::new(rules), validations, ..self }
    }

    /// Refuses identities that are revoked in this list.
    #[must_use]
    pub fn with_revocations(self, revocations: Revocations) -> Self {
        Self { revocations: Some(revocations), ..self }
    }

    /// Keeps browser sessions in this table, and refuses identities whose session has ended.
    #[must_use]
    pub fn with_browser_sessions(self, sessions: BrowserSessions) -> Self {
        Self { browser_sessions: Some(sessions), ..self }
    }

    /// Returns the rules.
    #[must_use]
    pub fn rules(&self) -> &TokenRules {
        &self.rules
    }

    /// Returns the revocations, if there is a list of them.
    #[must_use]
    pub fn revocations(&self) -> Option<&Revocations> {
        self.revocations.as_ref()
    }

    /// Returns the browser sessions, if there is a table of them.
    #[must_use]
    pub fn browser_sessions(&self) -> Option<&BrowserSessions> {
        self.browser_sessions.as_ref()
    }

    /// Verifies a token: its signature, its times, the rules, and that it is not revoked.
    ///
    /// Waits only if the issuer's keys must be fetched, and then for at most 5 seconds. Cancel
    /// safe: the fetch continues.
    ///
    /// # Errors
    /// [`TokenError`] with the reason; [`TokenError::KeysUnavailable`] if the keys could not be
    /// fetched.
    pub async fn verify(&self, token: &str) -> Result<Identity, TokenError> {
        match self.verify_at_once(token) {
            Some(result) => result,
            // Boxed: the future is large and rare, and callers embed this one in theirs.
            None => Box::pin(self.verify_after_fetch(token)).await,
        }
    }

    /// Verifies a token with the current keys. Returns `None` if keys must be fetched for it.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub fn verify_at_once(&self, token: &str) -> Option<Result<Identity, TokenError>> {
        let token = match self.parse(token) {
            Ok(token) => token,
            Err(error) => return Some(Err(error)),
        };
        match &self.keys {
            // The key id is not verified yet. At worst it causes one of the rare fetches.
            Keys::Fetched(issuer) if issuer.should_refresh(token.key_id.as_deref()) => None,
            keys => Some(self.identify(keys.verify(&token, &self.validations))),
        }
    }

    /// Checks that an identity is still valid.
    ///
    /// # Errors
    /// [`TokenError::Expired`], [`TokenError::Revoked`] or [`TokenError::LoggedOut`].
    pub fn recheck(&self, identity: &Identity) -> Result<(), TokenError> {
        self.recheck_at(identity, now_ms())
    }

    /// Checks as [`recheck`](Self::recheck) does, at a time in milliseconds since the epoch.
    ///
    /// # Errors
    /// As [`recheck`](Self::recheck).
    pub fn recheck_at(&self, identity: &Identity, now_ms: u64) -> Result<(), TokenError> {
        let leeway_ms = self.rules.leeway.as_secs().saturating_mul(1000);
        // The expiry first: it has its own close code, which lets clients fetch a new token.
        if identity.expires_at.is_some_and(|end| end.saturating_add(leeway_ms) <= now_ms) {
            return Err(TokenError::Expired);
        }
        if self.revocations.as_ref().is_some_and(|it| it.is_revoked(identity)) {
            return Err(TokenError::Revoked);
        }
        match (&identity.browser_session, &self.browser_sessions) {
            (Some(id), Some(sessions)) if !sessions.contains(id) => Err(TokenError::LoggedOut),
            _ => Ok(()),
        }
    }

    async fn verify_after_fetch(&self, token: &str) -> Result<Identity, TokenError> {
        let token = self.parse(token)?;
        if let Keys::Fetched(issuer) = &self.keys {
            issuer.refresh().await;
        }
        self.identify(self.keys.verify(&token, &self.validations))
    }

    /// Parses the header of a token. Its fields are not trusted.
    fn parse<'a>(&self, token: &'a str) -> Result<UnverifiedToken<'a>, TokenError> {
        // Before decoding: clients without a valid token must cost little.
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let header = token.split('.').next().unwrap_or_default();
        let header = BASE64_URL_SAFE_NO_PAD.decode(header).map_err(|_| TokenError::Malformed)?;
        let header: Header = serde_json::from_slice(&header).map_err(|_| TokenError::Malformed)?;

        if header.crit.is_some() {
            // RFC 7515 §4.1.11: an unknown critical extension must be refused, and all are.
            return Err(TokenError::Malformed);
        }
        // `none` is no `Algorithm`, so an unsigned token ends here.
        let Ok(algorithm) = header.alg.parse::<Algorithm>() else {
            return Err(TokenError::Algorithm { allowed: self.keys.algorithms() });
        };
        Ok(UnverifiedToken { token, algorithm, key_id: header.kid })
    }

    /// Returns the identity of verified claims, if it is not revoked.
    fn identify(&self, verified: Result<Claims, TokenError>) -> Result<Identity, TokenError> {
        let identity = verified?.into_identity(&self.rules.default_caps)?;
        match &self.revocations {
            Some(revocations) if revocations.is_revoked(&identity) => Err(TokenError::Revoked),
            _ => Ok(identity),
        }
    }
}

impl Keys {
    fn verify(
        &self,
        token: &UnverifiedToken<'_>,
        validations: &HashMap<Algorithm, Validation>,
    ) -> Result<Claims, TokenError> {
        match self {
            Self::Fixed(keys) => keys.verify(token, validations),
            Self::Fetched(issuer) => issuer.verify(token, validations),
        }
    }

    fn algorithms(&self) -> String {
        match self {
            Self::Fixed(keys) => keys.algorithms(),
            Self::Fetched(issuer) => issuer.algorithms(),
        }
    }
}

fn validations(rules: &TokenRules) -> HashMap<Algorithm, Validation> {
    let algorithms = [SECRET, RSA, P256, P384, ED].into_iter().flatten();
    algorithms.map(|algorithm| (*algorithm, validation(rules, *algorithm))).collect()
}

fn validation(rules: &TokenRules, algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.leeway = rules.leeway.as_secs();
    // `exp` is validated by default, `nbf` is not.
    validation.validate_nbf = true;

    // The library checks a claim only if the token has it, unless the claim is required.
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
    validation
}
