//! One request to an issuer, bounded in time and in bytes.

use std::{fmt, time::Duration};

use bytes::Bytes;
use rejoin_core::Shutdown;
use rejoin_http_client::{
    ConnectionTasks, HttpClient, HttpClientError, NoRootCertificates, Request, ServerUrl,
    StatusCode, USER_AGENT, header,
};

use crate::token::InvalidKey;

/// The time that an issuer has for its whole response.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest response, in bytes. Three keys with certificates are about 10 kB.
const MAX_BODY_BYTES: usize = 1 << 20;

/// The URL of an issuer's JWK set: `https://`, or `http://` to this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksUrl(ServerUrl);

/// A client of one JWK set.
pub(super) struct Fetcher {
    url: JwksUrl,
    client: HttpClient,
}

/// The reason why a request yielded no keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    TimedOut,
    /// A status other than 200; redirects are not followed.
    #[error("the response has status {0}")]
    Status(StatusCode),
    #[error(transparent)]
    Client(#[from] HttpClientError),
}

impl JwksUrl {
    /// Parses a URL without a user name or password.
    ///
    /// # Errors
    /// [`InvalidKey::Url`] if keys must not be fetched from it. Without TLS, an attacker on the
    /// network could replace the keys.
    pub fn new(url: &str) -> Result<Self, InvalidKey> {
        let parsed = ServerUrl::parse(url).filter(ServerUrl::is_confidential);
        parsed.map(Self).ok_or_else(|| InvalidKey::Url { url: url.to_owned() })
    }
}

impl fmt::Display for JwksUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Fetcher {
    /// Returns a client whose connections end with the shutdown.
    ///
    /// # Errors
    /// [`InvalidKey::Roots`] if the machine trusts no certificate authority.
    pub(super) fn new(url: JwksUrl, shutdown: &Shutdown) -> Result<Self, InvalidKey> {
        let tasks = ConnectionTasks { shutdown: shutdown.clone(), end: shutdown.clone() };
        // Keeps no connection: there are minutes between two requests.
        let client = HttpClient::new(&url.0, tasks, 0);
        let client = client.map_err(|NoRootCertificates(reason)| InvalidKey::Roots(reason))?;
        Ok(Self { url, client })
    }

    /// Fetches the JWK set.
    pub(super) async fn fetch(&self) -> Result<Bytes, FetchError> {
        tokio::time::timeout(TIMEOUT, self.get()).await.map_err(|_| FetchError::TimedOut)?
    }

    async fn get(&self) -> Result<Bytes, FetchError> {
        let request = Request::get(self.url.0.uri().clone())
            .header(header::ACCEPT, "application/jwk-set+json, application/json")
            .header(header::USER_AGENT, USER_AGENT)
            .body(Bytes::new())
            .expect("a URL and fixed headers make a request");

        let response = self.client.send(request).await?;
        // Redirects included: a redirect could lead to a server without TLS.
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        Ok(response.body(MAX_BODY_BYTES).await?)
    }
}

impl fmt::Display for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}
