//! Webhooks: what happens, and messages that are not built in, for programs behind HTTP.
//!
//! Requests are signed as <https://www.standardwebhooks.com> says.

mod delivery;
mod events;
mod messages;

use std::{fmt, sync::Arc, time::Duration};

use aws_lc_rs::{hmac, rand};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Uri,
    header::{CONTENT_TYPE, USER_AGENT},
};
use rejoin_core::now_ms;

pub use events::{EventKind, WebhookEvents};
pub use messages::WebhookMessages;

use crate::outgoing::{self, NoRoots, Outgoing, Tasks};

/// How a secret begins.
const PREFIX: &str = "whsec_";
/// How long a secret may be, in bytes.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Random bytes in a message's id, so that no two are the same.
const ID_BYTES: usize = 16;

/// Where a program is called, and how.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Its address.
    pub url: WebhookUrl,
    /// What the requests are signed with.
    pub secret: WebhookSecret,
    /// How long it may take for an answer, from the first packet to the last.
    pub timeout: Duration,
}

/// The address of a program; shown without its path, which may be secret.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(Uri);

/// What signs requests.
#[derive(Clone)]
pub struct WebhookSecret(Arc<hmac::Key>);

/// Why there is no webhook.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// The address may not be called.
    #[error(
        "a webhook's address must be `https://`, or `http://` to this machine or where \
         `insecure` allows it, without a name or password in it"
    )]
    Url,
    /// The secret is none.
    #[error(
        "a webhook's secret must be `{PREFIX}` and the base64 of {} to {} bytes, as \
         `echo {PREFIX}$(openssl rand -base64 32)` makes it",
        SECRET_BYTES.start(),
        SECRET_BYTES.end()
    )]
    Secret,
    /// The machine has no certificates by which to trust a server.
    #[error("this machine's root certificates cannot be read: {0}")]
    Roots(String),
}

impl WebhookUrl {
    /// An address to which nobody on the way can listen: `https://`, or this machine.
    ///
    /// # Errors
    /// [`WebhookError::Url`].
    pub fn new(url: &str) -> Result<Self, WebhookError> {
        Self::unprotected(url).and_then(|url| match outgoing::is_protected(&url.0) {
            true => Ok(url),
            false => Err(WebhookError::Url),
        })
    }

    /// An address in a network that is trusted: users' names and what they send are readable
    /// on the way.
    ///
    /// # Errors
    /// [`WebhookError::Url`].
    pub fn unprotected(url: &str) -> Result<Self, WebhookError> {
        let uri = url.parse::<Uri>().ok().filter(outgoing::is_address);
        uri.map(Self).ok_or(WebhookError::Url)
    }
}

impl WebhookSecret {
    /// Takes `whsec_` and base64, with white space around it.
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
        context.update(format!("{id}.{seconds}.").as_bytes());
        context.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(context.sign()))
    }
}

impl Webhook {
    fn outgoing(&self, tasks: Tasks, kept: usize) -> Result<Outgoing, WebhookError> {
        let outgoing = Outgoing::new(&self.url.0, tasks, kept);
        outgoing.map_err(|NoRoots(why)| WebhookError::Roots(why))
    }

    /// A request that is signed now.
    fn request(&self, id: &str, body: Bytes) -> Request<Full<Bytes>> {
        let seconds = now_ms() / 1000;
        Request::post(self.url.0.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, outgoing::NAME)
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", self.secret.sign(id, seconds, &body))
            .body(body.into())
            .expect("an address, an id and base64 make a request")
    }
}

/// An id that no other message has.
fn new_id() -> String {
    let mut bytes = [0; ID_BYTES];
    rand::fill(&mut bytes).expect("the system has randomness");
    bytes.iter().fold("msg_".to_owned(), |id, byte| format!("{id}{byte:02x}"))
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.authority().map_or("", |authority| authority.as_str());
        write!(f, "{}://{host}", self.0.scheme_str().unwrap_or_default())
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
    fn a_signature_is_that_of_the_specification() {
        let secret = WebhookSecret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        let signature =
            secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        for text in ["", "whsec_", "secret", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            assert_eq!(WebhookSecret::new(text).unwrap_err(), WebhookError::Secret, "{text}");
        }
    }

    #[test]
    fn an_address_is_protected_or_said_not_to_be() {
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
    fn a_webhook_shows_neither_its_path_nor_its_secret() {
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
