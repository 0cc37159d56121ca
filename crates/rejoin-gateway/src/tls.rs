//! TLS within the process, with a certificate that may change while it runs.

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

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// How long a peer that speaks no TLS may take to hear so.
const REFUSAL_GRACE: Duration = Duration::from_secs(1);
/// The first byte of each TLS connection (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// What a peer hears that speaks HTTP instead.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
    Content-Length: 35\r\nConnection: close\r\n\r\nThis port speaks TLS; use https://\n";

/// Where a certificate and its key are, as PEM.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// The certificate, and then those that lead to its root.
    pub certificate_file: PathBuf,
    /// Its private key, not encrypted.
    pub key_file: PathBuf,
}

/// A certificate in use.
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
    /// Held to clone it or to replace it.
    current: RwLock<Arc<CertifiedKey>>,
}

impl Tls {
    /// Reads a certificate and its key.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn open(files: TlsConfig) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let current = RwLock::new(Arc::new(certificate::load(&files, &provider)?));
        let certificate = Arc::new(Certificate { current });
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for each version")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificate) as _);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self { shared: Arc::new(Shared { files, acceptor, certificate }) })
    }

    /// Reads the files again, for connections that come from then on.
    ///
    /// # Errors
    /// What is wrong with which file; the certificate in use stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        let Shared { files, acceptor, certificate } = &*self.shared;
        let key = certificate::load(files, acceptor.config().crypto_provider())?;
        *certificate.current.write() = Arc::new(key);
        Ok(())
    }

    /// Reloads when the files change, until the shutdown begins.
    pub(crate) fn watch(&self, shutdown: &Shutdown) {
        let (tls, begun) = (self.clone(), shutdown.clone());
        shutdown.spawn(async move {
            let mut known = Stamp::of(&tls.shared.files);
            loop {
                tokio::select! {
                    () = tokio::time::sleep(LOOK_INTERVAL) => {}
                    () = begun.begun() => return,
                }
                let stamp = Stamp::of(&tls.shared.files);
                if stamp != known {
                    known = stamp;
                    match tls.reload() {
                        Ok(()) => info!("the certificate has changed"),
                        Err(error) => error!(%error, "the certificate stays the old one"),
                    }
                }
            }
        });
    }

    /// The handshake; a peer that speaks HTTP is told what it should speak.
    pub(crate) async fn accept(&self, mut socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let mut first = [0];
        if socket.peek(&mut first).await? == 1 && first != [HANDSHAKE_RECORD] {
            socket.write_all(SPEAK_TLS).await?;
            socket.shutdown().await?;
            // To close with bytes unread would take the answer back.
            let ended = async { while socket.read(&mut [0; 1024]).await.is_ok_and(|n| n > 0) {} };
            let _ = timeout(REFUSAL_GRACE, ended).await;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the peer speaks no TLS"));
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
