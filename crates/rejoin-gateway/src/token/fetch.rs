//! One request to an issuer, bounded in time and in bytes.

use std::{error::Error, fmt, future::Future, net::IpAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::{
    Request, StatusCode, Uri,
    header::{ACCEPT, USER_AGENT},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use rejoin_core::Shutdown;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

use crate::token::InvalidKey;

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
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

/// Why nothing usable came.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    TimedOut,
    /// Redirects among them: who may answer for the issuer is the configuration's word.
    #[error("the answer is {0}")]
    Status(StatusCode),
    #[error("the answer is longer than {MAX_BODY_BYTES} bytes")]
    TooLong,
    #[error("{0}")]
    Link(String),
}

impl JwksUrl {
    /// Takes an address without a name or password in it, which would end up in logs.
    ///
    /// # Errors
    /// [`InvalidKey::Url`] if keys must not be fetched from it: on the way from elsewhere,
    /// without TLS, anybody could put his own in their place.
    pub fn new(url: &str) -> Result<Self, InvalidKey> {
        let uri = url.parse::<Uri>().ok().filter(is_safe);
        uri.map(Self).ok_or_else(|| InvalidKey::Url { url: url.to_owned() })
    }
}

impl fmt::Display for JwksUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn is_safe(uri: &Uri) -> bool {
    let Some(authority) = uri.authority() else { return false };
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    let scheme = uri.scheme_str();
    let protected = scheme == Some("https") || (scheme == Some("http") && is_loopback);
    protected && !host.is_empty() && !authority.as_str().contains('@')
}

impl Fetcher {
    /// # Errors
    /// [`InvalidKey::Roots`] if the machine trusts nobody.
    pub(super) fn new(url: JwksUrl, shutdown: &Shutdown) -> Result<Self, InvalidKey> {
        let roots = match url.0.scheme_str() {
            Some("https") => native_roots()?,
            _ => RootCertStore::empty(),
        };
        // The provider is named, so that nobody need install one for the process.
        let tls = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("the provider has what the default versions need")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let client = Client::builder(Tracked(shutdown.clone()))
            // There are minutes between two requests.
            .pool_max_idle_per_host(0)
            .build(connector.build());
        Ok(Self { url, client })
    }

    /// What is at the address.
    pub(super) async fn fetch(&self) -> Result<Bytes, FetchError> {
        tokio::time::timeout(TIMEOUT, self.get()).await.map_err(|_| FetchError::TimedOut)?
    }

    async fn get(&self) -> Result<Bytes, FetchError> {
        let request = Request::get(self.url.0.clone())
            .header(ACCEPT, "application/jwk-set+json, application/json")
            .header(USER_AGENT, concat!("rejoin/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .expect("an address and fixed headers make a request");
        let response =
            self.client.request(request).await.map_err(|error| FetchError::Link(chain(&error)))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        match Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(FetchError::TooLong),
            Err(error) => Err(FetchError::Link(chain(&*error))),
        }
    }
}

/// Starts the client's tasks as tasks of a [`Shutdown`]; they end with it.
#[derive(Clone)]
struct Tracked(Shutdown);

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, task: F) {
        let shutdown = self.0.clone();
        self.0.spawn(async move {
            tokio::select! {
                _ = task => {}
                () = shutdown.begun() => {}
            }
        });
    }
}

fn native_roots() -> Result<RootCertStore, InvalidKey> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Some machines carry certificates that no library of today reads.
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        let why = found.errors.first().map_or_else(|| "there is none".into(), ToString::to_string);
        return Err(InvalidKey::Roots(why));
    }
    Ok(roots)
}

/// An error and what caused it: the outermost one says little.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        sentence = format!("{sentence}: {error}");
        cause = error.source();
    }
    sentence
}

impl fmt::Display for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}
