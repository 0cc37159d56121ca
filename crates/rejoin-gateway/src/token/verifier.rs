//! What verifies tokens: keys, rules, and what was revoked.

use std::{collections::HashMap, sync::Arc};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, Validation};
use rejoin_core::{Identity, Shutdown, now_ms};
use serde::Deserialize;

use crate::{
    browser_session::BrowserSessions,
    revocation::Revocations,
    token::{
        InvalidKey, MAX_TOKEN_BYTES, TokenError, TokenRules,
        fetch::{Fetcher, JwksUrl},
        jwks::Issuer,
        key::{ED, Key, KeySet, P256, P384, RSA, SECRET, Signed},
        pem,
    },
};

/// Verifies tokens; a handle that is cheap to clone.
///
/// ```
/// use rejoin_core::Caps;
/// use rejoin_gateway::{Claims, Signer, TokenRules};
/// use rejoin_protocol::UserId;
///
/// let signer = Signer::hs256(b"at least thirty-two bytes of secret")?;
/// let rules = TokenRules { default_caps: Caps::user(), ..TokenRules::default() };
/// let verifier = signer.verifier().with_rules(rules);
/// let token = signer.sign(&Claims::new(UserId::new("ann")?))?;
/// let identity = verifier.verify_at_once(&token).expect("a secret is never fetched")?;
/// assert_eq!(identity.user.as_str(), "ann");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Verifier {
    keys: Keys,
    rules: Arc<TokenRules>,
    /// The rules as the library takes them, for each algorithm.
    validations: Arc<HashMap<Algorithm, Validation>>,
    revocations: Option<Revocations>,
    browser_sessions: Option<BrowserSessions>,
}

/// Where keys come from.
#[derive(Clone, Debug)]
enum Keys {
    /// From the configuration; they stay.
    Fixed(Arc<KeySet>),
    /// From an issuer that may change them.
    Fetched(Issuer),
}

/// What the header of a token says (RFC 7515 §4.1). Its other fields, such as `jwk` and `jku`,
/// would let a token bring its own key, so nobody looks at them.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde::de::IgnoredAny>,
}

impl Verifier {
    /// Public keys of a file: PEM, or a JWK set.
    ///
    /// # Errors
    /// [`InvalidKey`] if there is none, or one of them is private, damaged or of another kind.
    pub fn public_keys(text: &[u8]) -> Result<Self, InvalidKey> {
        Ok(Self::new(Keys::Fixed(Arc::new(pem::read(text)?))))
    }

    /// Public keys from the address of a JWK set, fetched by a task of `shutdown`.
    ///
    /// They are fetched anew now and then, and once when a token names a key that is not among
    /// them. While the issuer is away the known ones stay.
    ///
    /// # Errors
    /// [`InvalidKey::Roots`] if no issuer could prove who it is.
    pub fn jwks(url: JwksUrl, shutdown: &Shutdown) -> Result<Self, InvalidKey> {
        Ok(Self::new(Keys::Fetched(Issuer::start(Fetcher::new(url, shutdown)?, shutdown))))
    }

    pub(super) fn of_secret(secret: &[u8]) -> Self {
        let keys = KeySet::new(vec![Key::secret(secret)]).expect("one key is right");
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

    /// Asks this of tokens, instead of what was asked before.
    #[must_use]
    pub fn with_rules(self, rules: TokenRules) -> Self {
        let validations = Arc::new(validations(&rules));
        Self { rules: Arc::new(rules), validations, ..self }
    }

    /// Refuses what is revoked here.
    #[must_use]
    pub fn with_revocations(self, revocations: Revocations) -> Self {
        Self { revocations: Some(revocations), ..self }
    }

    /// Keeps the log-ins of browsers here, and refuses those that have ended.
    #[must_use]
    pub fn with_browser_sessions(self, sessions: BrowserSessions) -> Self {
        Self { browser_sessions: Some(sessions), ..self }
    }

    /// What is asked of tokens.
    #[must_use]
    pub fn rules(&self) -> &TokenRules {
        &self.rules
    }

    /// What was revoked, if anybody keeps account of it.
    #[must_use]
    pub fn revocations(&self) -> Option<&Revocations> {
        self.revocations.as_ref()
    }

    /// The log-ins of browsers, if they are kept.
    #[must_use]
    pub fn browser_sessions(&self) -> Option<&BrowserSessions> {
        self.browser_sessions.as_ref()
    }

    /// Verifies a token: its signature, its times, what the rules ask, and that nobody revoked it.
    ///
    /// Waits only if the issuer's keys must be fetched for it, and then for seconds at most.
    /// Cancel safe: yes, a fetch goes on without it.
    ///
    /// # Errors
    /// [`TokenError`] with what is wrong; [`TokenError::KeysUnavailable`] if nobody can say.
    pub async fn verify(&self, token: &str) -> Result<Identity, TokenError> {
        match self.verify_at_once(token) {
            Some(result) => result,
            // Rare, and large: those who wait for something else need not hold it.
            None => Box::pin(self.verify_after_fetch(token)).await,
        }
    }

    /// Verifies a token with the keys at hand; `None` if others must be fetched for it.
    ///
    /// # Errors
    /// As [`Verifier::verify`].
    pub fn verify_at_once(&self, token: &str) -> Option<Result<Identity, TokenError>> {
        let signed = match self.read(token) {
            Ok(signed) => signed,
            Err(error) => return Some(Err(error)),
        };
        match &self.keys {
            Keys::Fixed(keys) => Some(self.judge(keys.check(&signed, &self.validations))),
            Keys::Fetched(issuer) if issuer.should_ask(signed.key_id.as_deref()) => None,
            Keys::Fetched(issuer) => Some(self.judge(issuer.check(&signed, &self.validations))),
        }
    }

    /// Whether somebody who was let in, or holds a ticket, may still be.
    ///
    /// # Errors
    /// [`TokenError::Expired`], [`TokenError::Revoked`] and [`TokenError::LoggedOut`].
    pub fn recheck(&self, identity: &Identity) -> Result<(), TokenError> {
        self.recheck_at(identity, now_ms())
    }

    /// The same at a time that the caller has just looked at.
    pub(crate) fn recheck_at(&self, identity: &Identity, now_ms: u64) -> Result<(), TokenError> {
        let leeway = u64::try_from(self.rules.leeway.as_millis()).unwrap_or(u64::MAX);
        if identity.expires_at.is_some_and(|end| end.saturating_add(leeway) <= now_ms) {
            return Err(TokenError::Expired);
        }
        if self.revocations.as_ref().is_some_and(|it| it.is_revoked(identity)) {
            return Err(TokenError::Revoked);
        }
        match (&identity.browser_session, &self.browser_sessions) {
            (Some(id), Some(sessions)) if !sessions.is_there(id) => Err(TokenError::LoggedOut),
            _ => Ok(()),
        }
    }

    async fn verify_after_fetch(&self, token: &str) -> Result<Identity, TokenError> {
        let signed = self.read(token)?;
        match &self.keys {
            Keys::Fixed(keys) => self.judge(keys.check(&signed, &self.validations)),
            Keys::Fetched(issuer) => {
                issuer.ask().await;
                self.judge(issuer.check(&signed, &self.validations))
            }
        }
    }

    /// Reads the header, without believing it.
    fn read<'a>(&self, token: &'a str) -> Result<Signed<'a>, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let header = token.split('.').next().unwrap_or_default();
        let header = BASE64_URL_SAFE_NO_PAD.decode(header).map_err(|_| TokenError::Malformed)?;
        let header: Header = serde_json::from_slice(&header).map_err(|_| TokenError::Malformed)?;
        if header.crit.is_some() {
            // RFC 7515 §4.1.11: who does not know an extension must refuse it, and we know none.
            return Err(TokenError::Malformed);
        }
        let Ok(algorithm) = header.alg.parse::<Algorithm>() else {
            return Err(TokenError::Algorithm { allowed: self.allowed() });
        };
        Ok(Signed { token, algorithm, key_id: header.kid })
    }

    fn allowed(&self) -> String {
        match &self.keys {
            Keys::Fixed(keys) => keys.allowed(),
            Keys::Fetched(issuer) => issuer.allowed(),
        }
    }

    fn judge(
        &self,
        checked: Result<crate::token::Claims, TokenError>,
    ) -> Result<Identity, TokenError> {
        let identity = checked?.identify(&self.rules.default_caps)?;
        match &self.revocations {
            Some(revocations) if revocations.is_revoked(&identity) => Err(TokenError::Revoked),
            _ => Ok(identity),
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
    validation
}
