//! A self-signed certificate and the configuration that uses it.

use rcgen::CertifiedKey;
use rustls::pki_types::CertificateDer;

use crate::support::TestHome;

/// A configuration with TLS on a free port.
pub(crate) const TLS_CONFIGURATION: &str = "
[server]
listen = \"127.0.0.1:0\"
tls_certificate_file = \"~/certificate.pem\"
tls_key_file = \"~/key.pem\"
";

/// Creates a certificate for `localhost` and its key, and writes both into the home.
pub(crate) fn write_certificate(home: &TestHome) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    home.write("key.pem", &signing_key.serialize_pem());
    home.write("certificate.pem", &cert.pem());
    cert.into()
}
