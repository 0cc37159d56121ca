//! The HTTP client for requests to other servers: issuers of tokens and targets of webhooks.

use std::{error::Error, fmt, future::Future, net::IpAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
pub use hyper::{Request, StatusCode, Uri, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioTimer,
};
use rejoin_core::Shutdown;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

/// The value of `User-Agent` in each request.
pub const USER_AGENT: &str = concat!("rejoin/", env!("CARGO_PKG_VERSION"));

/// The longest wait of an idle connection for the next request: less than servers usually wait,
/// so that the server seldom closes a connection that a request is just using.
const MAX_IDLE: Duration = Duration::from_secs(15);

/// The URL of another server: `http://` or `https://`, without a user name or password.
///
/// A password in a URL would end up in logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl(Uri);

/// A client of one server.
///
/// Follows no redirects: only the configuration decides which servers receive requests.
pub struct HttpClient(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// A response whose body has not been read.
#[derive(Debug)]
pub struct Response(hyper::Response<Incoming>);

/// The owner of the tasks that drive a client's connections.
#[derive(Clone, Debug)]
pub struct ConnectionTasks {
    /// The shutdown that waits for the tasks.
    pub shutdown: Shutdown,
    /// The shutdown whose begin ends the tasks.
    pub end: Shutdown,
}

/// The reason why a request has no usable response.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpClientError {
    /// The body exceeds the limit, in bytes.
    #[error("the response is longer than {0} bytes")]
    TooLong(usize),
    /// The connection failed.
    #[error("{0}")]
    Connection(String),
}

/// The error of a machine without usable root certificates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this machine's root certificates cannot be read: {0}")]
pub struct NoRootCertificates(pub String);

impl ServerUrl {
    /// Parses a URL. Returns `None` if it is not one of a server, or has a password.
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        // A relative URL has no authority.
        let authority = uri.authority()?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_user = authority.as_str().contains('@');
        (is_http && !authority.host().is_empty() && !has_user).then_some(Self(uri))
    }

    /// Returns `true` if no one on the network can read or change a request to this URL.
    #[must_use]
    pub fn is_confidential(&self) -> bool {
        let host = self.0.host().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        // Only literal addresses: another name could resolve to any machine.
        let is_loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
        self.0.scheme_str() == Some("https") || is_loopback
    }

    /// Returns the URL for a request.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.0
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl HttpClient {
    /// Returns a client of the server at `url` that keeps at most `max_idle` idle connections.
    ///
    /// # Errors
    /// [`NoRootCertificates`] if the URL is `https://` and the machine trusts no authority.
    pub fn new(
        url: &ServerUrl,
        tasks: ConnectionTasks,
        max_idle: usize,
    ) -> Result<Self, NoRootCertificates> {
        let roots = match url.uri().scheme_str() {
            Some("https") => native_roots()?,
            _ => RootCertStore::empty(),
        };

        // Named explicitly: a default provider of the process may not be installed.
        let tls = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("the provider has the cipher suites of the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let client = Client::builder(tasks)
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(MAX_IDLE)
            .pool_max_idle_per_host(max_idle)
            .build(connector.build());
        Ok(Self(client))
    }

    /// Sends a request, and waits for the head of the response. Sets no time limit.
    ///
    /// # Errors
    /// [`HttpClientError::Connection`].
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response, HttpClientError> {
        let response = self.0.request(request.map(Full::new)).await;
        response.map(Response).map_err(|error| HttpClientError::Connection(chain(&error)))
    }
}

impl Response {
    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// Reads the body. Sets no time limit.
    ///
    /// # Errors
    /// [`HttpClientError`] if the connection fails or the body is longer than `max_bytes`.
    pub async fn body(self, max_bytes: usize) -> Result<Bytes, HttpClientError> {
        // The limit counts received bytes. `Content-Length` alone cannot be trusted.
        match Limited::new(self.0.into_body(), max_bytes).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(HttpClientError::TooLong(max_bytes))
            }
            Err(error) => Err(HttpClientError::Connection(chain(&*error))),
        }
    }
}

impl<F> hyper::rt::Executor<F> for ConnectionTasks
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, task: F) {
        let end = self.end.clone();
        self.shutdown.spawn(async move {
            tokio::select! {
                _ = task => {}
                () = end.begun() => {}
            }
        });
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").finish_non_exhaustive()
    }
}

fn native_roots() -> Result<RootCertStore, NoRootCertificates> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Some machines have old certificates that rustls cannot parse; the others suffice.
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        let reason = found.errors.first().map_or_else(|| "none found".into(), ToString::to_string);
        return Err(NoRootCertificates(reason));
    }
    Ok(roots)
}

/// Returns the messages of an error and of its causes. Hyper's outermost error only names the
/// phase that failed.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        sentence = format!("{sentence}: {error}");
        cause = error.source();
    }
    sentence
}
