//! A self-signed certificate for servers under test, and the TLS settings of both ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::TempDir;

/// The host name in the certificate.
pub(crate) const HOST: &str = "localhost";

/// A certificate, and the TLS settings of a client that trusts only it.
#[derive(Debug)]
pub(crate) struct Identity {
    /// Holds the files. Removed on drop.
    folder: TempDir,
    client: Arc<ClientConfig>,
}

impl Identity {
    /// Generates a key and a certificate for `localhost`.
    pub(crate) fn generate() -> anyhow::Result<Self> {
        let generated = rcgen::generate_simple_self_signed([HOST.to_owned()])?;
        let folder = tempfile::tempdir()?;
        let (certificate, key) = files(folder.path());
        fs::write(certificate, generated.cert.pem())?;
        fs::write(key, generated.signing_key.serialize_pem())?;

        // The client trusts the certificate itself; it has no issuer.
        let mut roots = RootCertStore::empty();
        roots.add(generated.cert.into())?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // A resumed session would make later connections cheaper than the first.
        client.resumption = Resumption::disabled();
        Ok(Self { folder, client: Arc::new(client) })
    }

    /// Returns the folder that holds the [`files`].
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the TLS settings of a client.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.client)
    }
}

/// Returns the paths of the certificate and of its key, both PEM.
pub(crate) fn files(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("certificate.pem"), folder.join("key.pem"))
}

/// Reads a certificate and its key into the TLS settings of a server.
pub(crate) fn server_config(folder: &Path) -> anyhow::Result<Arc<ServerConfig>> {
    let (certificate, key) = files(folder);
    let chain = vec![CertificateDer::from_pem_file(certificate)?];
    let key = PrivateKeyDer::from_pem_file(key)?;

    // Explicit, so that no process-wide default provider is needed.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Arc::new(config))
}
