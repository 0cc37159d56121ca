//! A server that terminates TLS itself.

use std::{
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    sync::Arc,
};

use rustix::process::Signal;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName},
};

use crate::support::{
    TestHome, TestServer,
    certificate::{TLS_CONFIGURATION, write_certificate},
};

/// Requests the health check as a client that trusts only this certificate.
fn health(server: &TestServer, certificate: &CertificateDer<'static>) -> io::Result<String> {
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
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    Ok(response)
}

#[test]
fn sighup_reloads_the_certificate_and_keeps_it_if_invalid() {
    let home = TestHome::new();
    home.write("rejoin.toml", TLS_CONFIGURATION);

    let old = write_certificate(&home);
    let server = TestServer::start(&home, home.rejoin(&["serve"]));

    assert!(
        server.login_line.contains(&format!("{}/#login=", server.url)),
        "{}",
        server.login_line
    );

    let is_ok = |text: &str| text.starts_with("HTTP/1.1 200") && text.ends_with("ok\n");
    assert!(is_ok(&health(&server, &old).unwrap()));

    let new = write_certificate(&home);
    assert!(is_ok(&health(&server, &old).unwrap()), "the new certificate must wait for SIGHUP");

    server.signal(Signal::HUP);
    server.wait_for_log("the certificate was reloaded");
    assert!(is_ok(&health(&server, &new).unwrap()));

    health(&server, &old).unwrap_err();

    // A certificate that cannot be parsed leaves the current one in use.
    home.write("certificate.pem", "nothing");

    server.signal(Signal::HUP);
    server.wait_for_log("the new certificate is not valid");
    server.wait_for_log("`BEGIN CERTIFICATE`");
    assert!(is_ok(&health(&server, &new).unwrap()));

    let (code, _) = server.stop(Signal::TERM);
    assert_eq!(code, Some(0));
}

#[test]
fn the_server_does_not_start_with_an_unusable_certificate() {
    let home = TestHome::new();
    home.write("rejoin.toml", TLS_CONFIGURATION);

    let path = |name| home.path(name).display().to_string();
    let missing =
        format!("cannot read {}: No such file or directory (os error 2)", path("certificate.pem"));
    assert_eq!(home.error_of(&["serve"]), missing);

    write_certificate(&home);

    // The key of an earlier certificate.
    let key = fs::read(home.path("key.pem")).unwrap();
    write_certificate(&home);

    fs::write(home.path("key.pem"), key).unwrap();
    let (key, certificate) = (path("key.pem"), path("certificate.pem"));
    let error = home.error_of(&["serve"]);
    assert!(error.contains(&key) && error.contains(&certificate), "{error}");
}

#[test]
fn sighup_without_a_certificate_has_no_effect() {
    let home = TestHome::new();
    let server = home.start_server();

    server.signal(Signal::HUP);
    server.wait_for_log("no certificate is configured");
    server.connect_as_admin();
    let (code, _) = server.stop(Signal::TERM);
    assert_eq!(code, Some(0));
}
