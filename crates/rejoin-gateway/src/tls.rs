//! TLS in this process, with a certificate that is reloaded when its files change.

mod certificate;

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use parking_lot::RwLock;
use rejoin_core::Shutdown;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::{error, info};

use certificate::Stamp;
pub use certificate::TlsError;

/// The interval at which the files are checked for changes.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// The time within which a peer without TLS must read the refusal.
const REFUSAL_GRACE: Duration = Duration::from_secs(1);
/// The first byte of each TLS connection (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// The response to a peer that speaks plain HTTP.
const REFUSAL: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
    Content-Length: 35\r\nConnection: close\r\n\r\nThis port speaks TLS; use https://\n";

/// The files of a certificate and its private key, in PEM format.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// The certificate, followed by its intermediate certificates.
    pub certificate_file: PathBuf,
    /// The private key, which must not be encrypted.
    pub key_file: PathBuf,
}

/// A certificate in use. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    shared: Arc<Shared>,
}

struct Shared {
    files: TlsConfig,
    acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
}

#[derive(Debug)]
struct Certificate {
    /// Held to clone or to replace the key.
    current: RwLock<Arc<CertifiedKey>>,
}

impl Tls {
    /// Reads a certificate and its key.
    ///
    /// # Errors
    /// A [`TlsError`] that names the file and the reason.
    pub fn open(files: TlsConfig) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let current = RwLock::new(Arc::new(certificate::load(&files, &provider)?));
        let certificate = Arc::new(Certificate { current });
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for each version")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificate) as _);

        // No HTTP/2: the upgrade to a WebSocket needs HTTP/1.1 (RFC 6455 §4.1).
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self { shared: Arc::new(Shared { files, acceptor, certificate }) })
    }

    /// Rereads the files. Later connections use the new certificate.
    ///
    /// # Errors
    /// A [`TlsError`] that names the file and the reason. The previous certificate stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        let Shared { files, acceptor, certificate } = &*self.shared;
        let key = certificate::load(files, acceptor.config().crypto_provider())?;
        *certificate.current.write() = Arc::new(key);
        Ok(())
    }

    /// Starts a task that reloads the files when they change. It ends when the shutdown begins.
    pub(crate) fn watch(&self, shutdown: &Shutdown) {
        let (tls, begun) = (self.clone(), shutdown.clone());
        shutdown.spawn(async move {
            let mut known = Stamp::of(&tls.shared.files);
            loop {
                tokio::select! {
                    () = tokio::time::sleep(CHECK_INTERVAL) => {}
                    () = begun.begun() => return,
                }
                // Polls, because notifications would miss files replaced through symbolic links.
                let stamp = Stamp::of(&tls.shared.files);
                if stamp != known {
                    known = stamp;
                    match tls.reload() {
                        Ok(()) => info!("the new certificate is in use"),
                        Err(error) => error!(%error, "the new certificate cannot be used"),
                    }
                }
            }
        });
    }

    /// Performs the handshake. Explains the failure to a peer that speaks plain HTTP.
    pub(crate) async fn accept(&self, mut socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let mut first = [0];
        // Only peeks, because the handshake must read the byte again.
        if socket.peek(&mut first).await? == 1 && first != [HANDSHAKE_RECORD] {
            socket.write_all(REFUSAL).await?;
            socket.shutdown().await?;
            // Closing with unread bytes sends a TCP reset, which would discard the refusal.
            let ended = async { while socket.read(&mut [0; 1024]).await.is_ok_and(|n| n > 0) {} };
            let _ = timeout(REFUSAL_GRACE, ended).await;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the peer does not speak TLS"));
        }
        self.shared.acceptor.accept(socket).await
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read()))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.shared.files).finish_non_exhaustive()
    }
}
