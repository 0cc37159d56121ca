//! Requests to other servers: where they may go, and the client that sends them.

use std::{error::Error, future::Future, net::IpAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{Request, Response, Uri, body::Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioTimer,
};
use rejoin_core::Shutdown;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

/// What is sent to the other servers as the name of this program.
pub(crate) const NAME: &str = concat!("rejoin/", env!("CARGO_PKG_VERSION"));

/// How long a connection waits for the next request: less than servers usually wait.
const IDLE: Duration = Duration::from_secs(15);

/// Sends requests to one server. Follows no redirects: who may answer is the configuration's
/// word.
pub(crate) struct Outgoing(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// Whose the connections' tasks are.
#[derive(Clone)]
pub(crate) struct Tasks {
    /// Waits for them.
    pub(crate) shutdown: Shutdown,
    /// When it begins, they end.
    pub(crate) end: Shutdown,
}

/// Why nothing usable came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutgoingError {
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    #[error("{0}")]
    Link(String),
}

/// The machine trusts no certificate authority.
#[derive(Debug)]
pub(crate) struct NoRoots(pub(crate) String);

impl Outgoing {
    /// Keeps so many connections for the next requests.
    pub(crate) fn new(uri: &Uri, tasks: Tasks, kept: usize) -> Result<Self, NoRoots> {
        let roots = match uri.scheme_str() {
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
        let client = Client::builder(tasks)
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(kept)
            .build(connector.build());
        Ok(Self(client))
    }

    /// Sends a request; waits for the head of the answer.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, OutgoingError> {
        self.0.request(request).await.map_err(|error| OutgoingError::Link(chain(&error)))
    }
}

/// Reads an answer's body, of at most so many bytes.
pub(crate) async fn read(body: Incoming, max_bytes: usize) -> Result<Bytes, OutgoingError> {
    match Limited::new(body, max_bytes).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(OutgoingError::TooLong(max_bytes)),
        Err(error) => Err(OutgoingError::Link(chain(&*error))),
    }
}

/// Whether an address is of a server, without a name or a password that would end up in logs.
pub(crate) fn is_address(uri: &Uri) -> bool {
    let Some(authority) = uri.authority() else { return false };
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    is_http && !authority.host().is_empty() && !authority.as_str().contains('@')
}

/// Whether nobody on the way can read or change what is sent to an address.
pub(crate) fn is_protected(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    uri.scheme_str() == Some("https") || is_loopback
}

impl<F> hyper::rt::Executor<F> for Tasks
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

fn native_roots() -> Result<RootCertStore, NoRoots> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Some machines carry certificates that no library of today reads.
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        let why = found.errors.first().map_or_else(|| "there is none".into(), ToString::to_string);
        return Err(NoRoots(why));
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
