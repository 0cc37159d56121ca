//! The files of a certificate and its key.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustls::{
    Error,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    sign::CertifiedKey,
};

use crate::tls::TlsConfig;

/// The reason why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The certificate's file contains no certificate, or a malformed one.
    #[error("{} holds no certificate: {reason}; write PEM, the server's own first", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// The error in the content.
        reason: String,
    },
    /// The key's file contains no private key, or one that cannot be used.
    #[error("{} holds no private key: {reason}; write PEM of PKCS#8, PKCS#1 or SEC1", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The error in the content.
        reason: String,
    },
    /// The private key is encrypted.
    #[error("the private key in {} is encrypted; write it without a passphrase", .0.display())]
    Encrypted(PathBuf),
    /// The key does not belong to the certificate.
    #[error("the key in {} does not belong to the certificate in {}", key.display(), certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
}

/// The modification times and sizes of both files, which change if a file is written or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp([Option<(SystemTime, u64)>; 2]);

impl Stamp {
    /// Returns the current stamp of the files.
    pub(super) fn of(files: &TlsConfig) -> Self {
        let stamp = |path: &Path| {
            let data = fs::metadata(path).ok()?;
            // Includes the size, because two writes within one tick of the file system have the
            // same time.
            Some((data.modified().ok()?, data.len()))
        };
        Self([stamp(&files.certificate_file), stamp(&files.key_file)])
    }
}

/// Reads a certificate and its key, and checks that they belong together.
pub(super) fn load(files: &TlsConfig, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let TlsConfig { certificate_file, key_file } = files;
    let no_certificate = |reason: String| {
        let path = certificate_file.clone();
        TlsError::Certificate { path, reason }
    };
    let chain = CertificateDer::pem_slice_iter(&read(certificate_file)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| no_certificate(error.to_string()))?;
    if chain.is_empty() {
        return Err(no_certificate("there is no `BEGIN CERTIFICATE`".to_owned()));
    }

    let pem = read(key_file)?;
    // Old formats only mark encryption by a header inside the PEM block (RFC 1421 §4.6.1.1).
    if String::from_utf8_lossy(&pem).contains("ENCRYPTED") {
        return Err(TlsError::Encrypted(key_file.clone()));
    }
    let no_key = |reason: String| TlsError::Key { path: key_file.clone(), reason };
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| match error {
        pem::Error::NoItemsFound => no_key("there is no `BEGIN PRIVATE KEY`".to_owned()),
        error => no_key(error.to_string()),
    })?;
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|error| no_key(error.to_string()))?;

    let certified = CertifiedKey::new(chain, key);
    // Checked here, because with the wrong key every handshake would fail later.
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(Error::InconsistentKeys(_)) => {
            Err(TlsError::Mismatch { certificate: certificate_file.clone(), key: key_file.clone() })
        }
        Err(error) => Err(no_certificate(error.to_string())),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}
