//! The target of a webhook: its URL, and the secret that signs its requests.

use std::{fmt, sync::Arc, time::Duration};

use aws_lc_rs::{hmac, rand};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use rejoin_core::now_ms;
use rejoin_http_client::{
    ConnectionTasks, HttpClient, NoRootCertificates, Request, ServerUrl, USER_AGENT, header,
};

/// The prefix of a secret.
const PREFIX: &str = "whsec_";
/// The allowed lengths of a secret, in bytes.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// The random bytes of a message id: enough that no two ids are equal.
const ID_BYTES: usize = 16;

/// A program behind HTTP.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// The URL that is called.
    pub url: WebhookUrl,
    /// The secret that signs the requests.
    pub secret: WebhookSecret,
    /// The time that the program has for its whole response.
    pub timeout: Duration,
}

/// The URL of a webhook. Displayed without its path, which may be secret.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(ServerUrl);

/// A secret that signs requests.
#[derive(Clone)]
pub struct WebhookSecret(Arc<hmac::Key>);

/// The reason why a webhook cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// The URL is not allowed.
    #[error(
        "a webhook's address must be `https://`, or `http://` to this machine or where \
         `insecure` allows it, without a name or password in it"
    )]
    Url,
    /// The secret is malformed.
    #[error(
        "a webhook's secret must be `{PREFIX}` and the base64 of {} to {} bytes, as \
         `echo {PREFIX}$(openssl rand -base64 32)` makes it",
        SECRET_BYTES.start(),
        SECRET_BYTES.end()
    )]
    Secret,
    /// The machine trusts no certificate authority.
    #[error("this machine's root certificates cannot be read: {0}")]
    Roots(String),
}

impl WebhookUrl {
    /// Parses a URL that no one on the network can listen to: `https://`, or this machine.
    ///
    /// # Errors
    /// [`WebhookError::Url`].
    pub fn new(url: &str) -> Result<Self, WebhookError> {
        let parsed = ServerUrl::parse(url).filter(ServerUrl::is_confidential);
        parsed.map(Self).ok_or(WebhookError::Url)
    }

    /// Parses a URL in a trusted network, also without TLS.
    ///
    /// Without TLS, the network can read the names of users and their messages.
    ///
    /// # Errors
    /// [`WebhookError::Url`].
    pub fn unprotected(url: &str) -> Result<Self, WebhookError> {
        ServerUrl::parse(url).map(Self).ok_or(WebhookError::Url)
    }
}

impl WebhookSecret {
    /// Parses `whsec_` and base64. Ignores white space around it.
    ///
    /// # Errors
    /// [`WebhookError::Secret`].
    pub fn new(text: &str) -> Result<Self, WebhookError> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(WebhookError::Secret)?;
        let secret = BASE64_STANDARD.decode(encoded).map_err(|_| WebhookError::Secret)?;
        if !SECRET_BYTES.contains(&secret.len()) {
            return Err(WebhookError::Secret);
        }
        Ok(Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &secret))))
    }

    fn sign(&self, id: &str, seconds: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        // The id and the time are signed, too, so that a request cannot be replayed as another.
        context.update(format!("{id}.{seconds}.").as_bytes());
        context.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(context.sign()))
    }
}

impl Webhook {
    /// Returns a client that keeps at most `max_idle` idle connections.
    pub(crate) fn client(
        &self,
        tasks: ConnectionTasks,
        max_idle: usize,
    ) -> Result<HttpClient, WebhookError> {
        let client = HttpClient::new(&self.url.0, tasks, max_idle);
        client.map_err(|NoRootCertificates(reason)| WebhookError::Roots(reason))
    }

    /// Returns a request that is signed now.
    pub(crate) fn request(&self, id: &str, body: Bytes) -> Request<Bytes> {
        // Signed at each attempt: targets refuse requests with old timestamps.
        let seconds = now_ms() / 1000;
        Request::post(self.url.0.uri().clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, USER_AGENT)
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", self.secret.sign(id, seconds, &body))
            .body(body)
            .expect("a URL, an id and base64 make a request")
    }
}

/// Returns a message id that no other message has.
pub(crate) fn new_id() -> String {
    // Random, not counted: targets recognize repeated requests by their ids, also after a restart.
    let mut bytes = [0; ID_BYTES];
    rand::fill(&mut bytes).expect("the system has random bytes");
    bytes.iter().fold("msg_".to_owned(), |id, byte| format!("{id}{byte:02x}"))
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uri = self.0.uri();
        let host = uri.authority().map_or("", |authority| authority.as_str());
        write!(f, "{}://{host}", uri.scheme_str().unwrap_or_default())
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSecret").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_equals_the_example_of_the_specification() {
        let secret = WebhookSecret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();

        let signature =
            secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);

        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_malformed_secret_is_refused() {
        for text in ["", "whsec_", "secret", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            assert_eq!(WebhookSecret::new(text).unwrap_err(), WebhookError::Secret, "{text}");
        }
    }

    #[test]
    fn a_url_without_tls_must_be_allowed_explicitly() {
        for url in
            ["https://a.example/x", "http://127.0.0.1:1/x", "http://[::1]/", "http://localhost/"]
        {
            WebhookUrl::new(url).unwrap();
        }
        WebhookUrl::unprotected("http://app:3000/hook").unwrap();

        for url in ["http://app:3000/hook", "http://127.0.0.1.example/", "ftp://a/", "/x", "a"] {
            assert_eq!(WebhookUrl::new(url), Err(WebhookError::Url), "{url}");
        }
        for url in ["https://me:word@a.example/", "ftp://a/", "https://", "/x"] {
            assert_eq!(WebhookUrl::unprotected(url), Err(WebhookError::Url), "{url}");
        }
    }

    #[test]
    fn debug_output_hides_the_path_and_the_secret() {
        let webhook = Webhook {
            url: WebhookUrl::new("https://a.example/hidden?key=hidden").unwrap(),
            secret: WebhookSecret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap(),
            timeout: Duration::from_secs(1),
        };

        let shown = format!("{webhook:?} {}", webhook.url);

        assert!(shown.contains("https://a.example") && !shown.contains("hidden"), "{shown}");
        assert!(!shown.contains("MfKQ"), "{shown}");
    }
}
