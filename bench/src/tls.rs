//! A self-signed certificate for the servers under test, and the TLS settings of both ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::TempDir;

/// The name in the certificate.
pub(crate) const HOST: &str = "localhost";

/// A certificate with its key in files, and the settings of a client that trusts it.
#[derive(Debug)]
pub(crate) struct Identity {
    /// Removed on drop.
    _folder: TempDir,
    files: Files,
    client: Arc<ClientConfig>,
}

/// A certificate and its private key as PEM files.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Identity {
    /// Generates a key and a certificate for `localhost`.
    pub(crate) fn generate() -> anyhow::Result<Self> {
        let generated = rcgen::generate_simple_self_signed([HOST.to_owned()])?;
        let folder = tempfile::tempdir()?;
        let files = Files::within(folder.path());
        fs::write(&files.certificate, generated.cert.pem())?;
        fs::write(&files.key, generated.signing_key.serialize_pem())?;

        let mut roots = RootCertStore::empty();
        roots.add(generated.cert.into())?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // Each connection makes a full handshake.
        client.resumption = Resumption::disabled();
        Ok(Self { _folder: folder, files, client: Arc::new(client) })
    }

    /// Returns the paths of the certificate and of its key.
    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    /// Returns the settings of a client that trusts this certificate only.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.client)
    }
}

impl Files {
    fn within(folder: &Path) -> Self {
        Self { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") }
    }
}

/// Reads the files into the settings of a server.
pub(crate) fn server_config(files: &Files) -> anyhow::Result<Arc<ServerConfig>> {
    let chain = vec![CertificateDer::from_pem_file(&files.certificate)?];
    let key = PrivateKeyDer::from_pem_file(&files.key)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Arc::new(config))
}
