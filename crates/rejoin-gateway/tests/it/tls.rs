//! TLS: sockets, handshakes, and a certificate that is replaced.

use std::{fs, path::Path, sync::Arc, time::Duration};

use rcgen::{CertifiedKey, KeyPair};
use rejoin_gateway::{GatewayConfig, GatewayMetrics, Tls, TlsConfig};
use rejoin_protocol::{CloseCode, UserId};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::{Client, TestServer};

/// The files of a self-signed certificate for `localhost`.
struct Files {
    directory: TempDir,
    certificate: CertificateDer<'static>,
}

impl Files {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let certificate = write(directory.path());
        Self { directory, certificate }
    }

    /// Replaces the certificate with a later modification time.
    fn replace(&mut self) {
        self.certificate = write(self.directory.path());
        let file = fs::File::options().append(true).open(self.config().certificate_file).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        // File systems with coarse timestamps could hide the change.
        file.set_modified(modified + Duration::from_secs(1)).unwrap();
    }

    fn config(&self) -> TlsConfig {
        let file = |name| self.directory.path().join(name);
        TlsConfig { certificate_file: file("certificate.pem"), key_file: file("key.pem") }
    }

    fn tls(&self) -> Tls {
        Tls::open(self.config()).unwrap()
    }
}

fn write(directory: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(directory.join("key.pem"), signing_key.serialize_pem()).unwrap();
    fs::write(directory.join("certificate.pem"), cert.pem()).unwrap();
    cert.into()
}

async fn serve(tls: &Tls) -> TestServer {
    TestServer::start_with(
        |config| {
            config.tls = Some(tls.clone());
            config.max_message_bytes = 8 << 20;
        },
        |gateway| gateway,
    )
    .await
}

/// Opens a TLS connection to a server that must present this certificate.
async fn connect(
    server: &TestServer,
    certificate: &CertificateDer<'static>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    // The client prefers HTTP/2, which the server does not speak.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let socket = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, socket).await
}

async fn log_in(server: &TestServer, files: &Files) -> Client<TlsStream<TcpStream>> {
    let socket = connect(server, &files.certificate).await.unwrap();
    let request = server.request(&[("sec-websocket-protocol", "rejoin.v1")]);
    let (socket, _) = tokio_tungstenite::client_async(request, socket).await.unwrap();
    let mut client = Client::new(socket);
    let answer = client.ask("authenticate", json!({ "token": server.token("ann") })).await;
    assert_eq!(answer["type"], "auth_result", "{answer}");
    client
}

#[tokio::test]
async fn a_websocket_over_tls_closes_with_close_notify() {
    let files = Files::new();
    let server = serve(&files.tls()).await;
    let mut client = log_in(&server, &files).await;
    assert_eq!(client.socket.get_ref().get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    client.ask("subscribe", json!({ "topic": "news" })).await;
    client.ask("publish", json!({ "topic": "news", "data": 1 })).await;
    let mut other = log_in(&server, &files).await;
    other.ask("publish", json!({ "topic": "news", "data": 2 })).await;
    server.hub.shutdown().begin();

    let (texts, code) = client.until_closed().await;
    assert_eq!(texts.last().unwrap()["type"], "closing");
    assert_eq!(code, Some(4000));

    let mut rest = Vec::new();
    let socket = client.socket.get_mut();
    // Without `close_notify`, this is an error.
    socket.read_to_end(&mut rest).await.unwrap();
    drop((client, other));
    assert_eq!(server.hub.shutdown().finish(Duration::from_secs(60)).await, 0);
}

#[tokio::test]
async fn large_messages_pass_in_both_directions() {
    let files = Files::new();
    let server = serve(&files.tls()).await;
    let mut client = log_in(&server, &files).await;
    client.ask("subscribe", json!({ "topic": "long" })).await;
    for letter in ["a", "b"] {
        let data = Value::from(letter.repeat(2 << 20));
        let publish = json!({ "type": "publish", "payload": { "topic": "long", "data": data } });
        client.send(publish.to_string()).await;
        loop {
            let message = client.next_json().await;
            if message["type"] == "message" {
                assert!(message["payload"]["data"] == data, "{letter}");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_blocked_tls_reader_gets_a_gap() {
    /// 20 MB: more than both ends buffer.
    const COUNT: u64 = 400;
    let files = Files::new();
    let server = serve(&files.tls()).await;
    let mut stuck = log_in(&server, &files).await;
    stuck.ask("subscribe", json!({ "topic": "short" })).await;
    let mut publisher = log_in(&server, &files).await;
    let large = "x".repeat(50_000);
    for number in 0..COUNT {
        let data = json!([number, large]);
        publisher.ask("publish", json!({ "topic": "short", "data": data })).await;
    }

    let mut messages = 0;
    let mut gaps = 0;
    loop {
        let message = stuck.next_json().await;
        match message["type"].as_str().unwrap() {
            "message" => {
                messages += 1;
                if message["payload"]["data"][0] == COUNT - 1 {
                    break;
                }
            }
            _ => gaps += 1,
        }
    }
    assert!(gaps > 0, "all messages fit into buffers: {messages}");
}

#[tokio::test]
async fn a_blocked_tls_client_is_removed() {
    let files = Files::new();
    let configure = |config: &mut GatewayConfig| {
        config.tls = Some(files.tls());
        config.heartbeat = Duration::from_secs(3);
    };
    let server = TestServer::start_with(configure, |gateway| gateway).await;
    let mut publisher = log_in(&server, &files).await;
    let large = "x".repeat(50_000);

    for (removals, reason) in ["a disconnect", "missed heartbeats"].into_iter().enumerate() {
        let mut blocked = log_in(&server, &files).await;
        blocked.ask("subscribe", json!({ "topic": "short" })).await;
        // 20 MB: more than both ends buffer.
        for _ in 0..400 {
            publisher.ask("publish", json!({ "topic": "short", "data": large })).await;
        }
        let user = UserId::new("ann").unwrap();
        if reason == "a disconnect" {
            let newest = server.hub.connections_of(&user).pop().unwrap();
            newest.close(CloseCode::Disconnected);
        }

        let removed = async {
            while server.hub.connection_count_of(&user) > 1 {
                // Each request keeps the publisher's own connection alive.
                publisher.ask("ping", json!({})).await;
            }
        };
        timeout(Duration::from_secs(40), removed).await.expect(reason);
        let metrics = server.hub.metrics().group::<GatewayMetrics>();
        assert_eq!(metrics.heartbeats_missed.get(), removals as u64, "{reason}");
    }
}

#[tokio::test]
async fn http_over_tls_closes_with_close_notify() {
    let files = Files::new();
    let server = serve(&files.tls()).await;
    let mut socket = connect(&server, &files.certificate).await.unwrap();
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    socket.write_all(request).await.unwrap();

    let mut response = String::new();
    socket.read_to_string(&mut response).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
}

#[tokio::test]
async fn a_plain_http_request_is_refused_with_the_cause() {
    let files = Files::new();
    let server = serve(&files.tls()).await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();

    let mut response = String::new();
    socket.read_to_string(&mut response).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{response}");
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "This port speaks TLS; use https://\n");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
}

#[tokio::test(start_paused = true)]
async fn a_stalled_handshake_is_closed_after_ten_seconds() {
    let files = Files::new();
    let server = serve(&files.tls()).await;
    // Silent from the start, and silent within the first record.
    for begin in [&b""[..], &[22, 3, 1, 0, 100]] {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(begin).await.unwrap();
        let begun = tokio::time::Instant::now();
        let _ = socket.read_to_end(&mut Vec::new()).await;
        assert!(begun.elapsed() >= Duration::from_secs(10), "the handshake has ten seconds");
    }
}

#[tokio::test]
async fn silent_tls_sockets_are_evicted_and_delay_no_stop() {
    let files = Files::new();
    let tls = files.tls();
    let configure = |config: &mut GatewayConfig| {
        config.tls = Some(tls);
        config.max_handshakes = std::num::NonZeroUsize::new(4).unwrap();
    };
    let server = TestServer::start_with(configure, |gateway| gateway).await;
    let mut silent = Vec::new();
    for _ in 0..12 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }

    let mut client = log_in(&server, &files).await;
    assert_eq!(client.ask("ping", json!({})).await["type"], "pong");
    for mut socket in silent.drain(..8) {
        let _ = socket.read_to_end(&mut Vec::new()).await;
    }
    assert_eq!(server.hub.shutdown().finish(Duration::from_secs(6)).await, 0);
}

#[tokio::test]
async fn a_reload_affects_new_connections_only() {
    let mut files = Files::new();
    let tls = files.tls();
    let server = serve(&tls).await;
    let mut early = log_in(&server, &files).await;
    let old = files.certificate.clone();
    files.replace();
    connect(&server, &old).await.unwrap();

    tls.reload().unwrap();

    connect(&server, &old).await.unwrap_err();
    let mut late = log_in(&server, &files).await;
    assert_eq!(early.ask("ping", json!({})).await["type"], "pong");
    assert_eq!(late.ask("ping", json!({})).await["type"], "pong");
}

#[tokio::test]
async fn a_malformed_certificate_keeps_the_old_one() {
    let files = Files::new();
    let tls = files.tls();
    let server = serve(&tls).await;
    fs::write(files.config().certificate_file, "half of a cert").unwrap();

    tls.reload().unwrap_err();

    connect(&server, &files.certificate).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn changed_files_are_reloaded() {
    let mut files = Files::new();
    let server = serve(&files.tls()).await;
    let old = files.certificate.clone();
    // After the handshake, the task has recorded the first stamp.
    connect(&server, &old).await.unwrap();
    files.replace();
    tokio::time::advance(Duration::from_secs(11)).await;
    while connect(&server, &files.certificate).await.is_err() {}
    connect(&server, &old).await.unwrap_err();
}

#[test]
fn errors_name_the_file_and_the_problem() {
    let files = Files::new();
    let TlsConfig { certificate_file, key_file } = files.config();
    let (certificate, key) = (certificate_file.display(), key_file.display());
    let wrong = |expected: String| {
        assert_eq!(Tls::open(files.config()).unwrap_err().to_string(), expected);
    };
    let good_key = fs::read(&key_file).unwrap();
    let good_certificate = fs::read(&certificate_file).unwrap();

    fs::write(&key_file, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    wrong(format!("the key in {key} does not belong to the certificate in {certificate}"));
    fs::write(&key_file, "-----BEGIN ENCRYPTED PRIVATE KEY-----\n").unwrap();
    wrong(format!("the private key in {key} is encrypted; write it without a passphrase"));
    fs::write(&key_file, &good_certificate).unwrap();
    wrong(format!(
        "{key} holds no private key: there is no `BEGIN PRIVATE KEY`; \
         write PEM of PKCS#8, PKCS#1 or SEC1"
    ));
    fs::write(&key_file, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
    let error = Tls::open(files.config()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{key} holds no private key: ")), "{error}");
    fs::remove_file(&key_file).unwrap();
    wrong(format!("cannot read {key}: No such file or directory (os error 2)"));

    fs::write(&key_file, good_key).unwrap();
    fs::write(&certificate_file, "").unwrap();
    wrong(format!(
        "{certificate} holds no certificate: there is no `BEGIN CERTIFICATE`; \
         write PEM, the server's own first"
    ));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fs::write(&certificate_file, broken).unwrap();
    let error = Tls::open(files.config()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{certificate} holds no certificate: ")), "{error}");
}
