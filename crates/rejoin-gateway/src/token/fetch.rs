//! One request to an issuer, bounded in time and in bytes.

use std::{fmt, time::Duration};

use bytes::Bytes;
use hyper::{
    Request, StatusCode, Uri,
    header::{ACCEPT, USER_AGENT},
};
use rejoin_core::Shutdown;

use crate::{
    outgoing::{self, NoRoots, Outgoing, OutgoingError, Tasks},
    token::InvalidKey,
};

/// How long an issuer may take, from the first packet to the last.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer, in bytes; three keys with certificates are about 10 kB.
const MAX_BODY_BYTES: usize = 1 << 20;

/// From where the keys of an issuer are fetched: `https://`, or `http://` to this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksUrl(Uri);

/// Fetches from one address.
pub(super) struct Fetcher {
    url: JwksUrl,
    outgoing: Outgoing,
}

/// Why nothing usable came.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    TimedOut,
    /// Redirects among them.
    #[error("the answer is {0}")]
    Status(StatusCode),
    #[error(transparent)]
    Outgoing(#[from] OutgoingError),
}

impl JwksUrl {
    /// Takes an address without a name or password in it, which would end up in logs.
    ///
    /// # Errors
    /// [`InvalidKey::Url`] if keys must not be fetched from it: on the way from elsewhere,
    /// without TLS, anybody could put his own in their place.
    pub fn new(url: &str) -> Result<Self, InvalidKey> {
        let is_safe = |uri: &Uri| outgoing::is_address(uri) && outgoing::is_protected(uri);
        let uri = url.parse::<Uri>().ok().filter(is_safe);
        uri.map(Self).ok_or_else(|| InvalidKey::Url { url: url.to_owned() })
    }
}

impl fmt::Display for JwksUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Fetcher {
    /// # Errors
    /// [`InvalidKey::Roots`] if the machine trusts nobody.
    pub(super) fn new(url: JwksUrl, shutdown: &Shutdown) -> Result<Self, InvalidKey> {
        let tasks = Tasks { shutdown: shutdown.clone(), end: shutdown.clone() };
        // There are minutes between two requests: no connection is kept.
        let outgoing = Outgoing::new(&url.0, tasks, 0);
        let outgoing = outgoing.map_err(|NoRoots(why)| InvalidKey::Roots(why))?;
        Ok(Self { url, outgoing })
    }

    /// What is at the address.
    pub(super) async fn fetch(&self) -> Result<Bytes, FetchError> {
        tokio::time::timeout(TIMEOUT, self.get()).await.map_err(|_| FetchError::TimedOut)?
    }

    async fn get(&self) -> Result<Bytes, FetchError> {
        let request = Request::get(self.url.0.clone())
            .header(ACCEPT, "application/jwk-set+json, application/json")
            .header(USER_AGENT, outgoing::NAME)
            .body(Bytes::new().into())
            .expect("an address and fixed headers make a request");
        let response = self.outgoing.send(request).await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        Ok(outgoing::read(response.into_body(), MAX_BODY_BYTES).await?)
    }
}

impl fmt::Display for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}
