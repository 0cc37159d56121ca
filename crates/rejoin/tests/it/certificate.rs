//! A server that speaks TLS itself.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
};

use rcgen::CertifiedKey;
use rustix::process::Signal;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName},
};

use crate::support::{Home, Server};

pub(crate) const CONFIGURATION: &str = "
[server]
listen = \"127.0.0.1:0\"
tls_certificate_file = \"~/certificate.pem\"
tls_key_file = \"~/key.pem\"
";

/// Makes a certificate and writes it where the configuration says.
pub(crate) fn certify(home: &Home) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    home.write("key.pem", &signing_key.serialize_pem());
    home.write("certificate.pem", &cert.pem());
    cert.into()
}

/// What the health check says to whoever trusts this certificate only.
fn health(server: &Server, certificate: &CertificateDer<'static>) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(server.url.strip_prefix("https://").unwrap()).unwrap();
    let mut stream = StreamOwned::new(connection, socket);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn a_hang_up_makes_it_read_its_certificate_again_and_a_broken_one_is_told() {
    let home = Home::new();
    home.write("rejoin.toml", CONFIGURATION);
    let old = certify(&home);
    let server = Server::start(&home, home.rejoin(&["serve"]));
    assert!(server.login.contains(&format!("{}/#login=", server.url)), "{}", server.login);
    let ok = |answer: &str| answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n");
    assert!(ok(&health(&server, &old).unwrap()));

    let new = certify(&home);
    assert!(ok(&health(&server, &old).unwrap()), "not before it is told");
    server.signal(Signal::HUP);
    server.until_logged("the certificate was read again");
    assert!(ok(&health(&server, &new).unwrap()));
    health(&server, &old).unwrap_err();

    home.write("certificate.pem", "nothing");
    server.signal(Signal::HUP);
    server.until_logged("the certificate stays the old one");
    server.until_logged("holds no certificate: there is no `BEGIN CERTIFICATE`");
    assert!(ok(&health(&server, &new).unwrap()));
    let (code, _) = server.stop(Signal::TERM);
    assert_eq!(code, Some(0));
}

#[test]
fn a_certificate_that_cannot_be_used_keeps_the_server_from_starting() {
    let home = Home::new();
    home.write("rejoin.toml", CONFIGURATION);
    let path = |name| home.path(name).display().to_string();
    let missing =
        format!("cannot read {}: No such file or directory (os error 2)", path("certificate.pem"));
    assert_eq!(home.complains(&["serve"]), missing);
    certify(&home);
    let key = fs::read(home.path("key.pem")).unwrap();
    certify(&home);
    fs::write(home.path("key.pem"), key).unwrap();
    let (key, certificate) = (path("key.pem"), path("certificate.pem"));
    let mismatch = format!("the key in {key} is not that of the certificate in {certificate}");
    assert_eq!(home.complains(&["serve"]), mismatch);
}

#[test]
fn without_a_certificate_a_hang_up_ends_nothing() {
    let home = Home::new();
    let server = home.serve();
    server.signal(Signal::HUP);
    server.until_logged("there is no certificate to read again");
    server.log_in();
    let (code, _) = server.stop(Signal::TERM);
    assert_eq!(code, Some(0));
}
