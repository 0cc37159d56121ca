//! The keys of an issuer that changes them, lies, or is away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use jsonwebtoken::{Algorithm, Header};
use parking_lot::Mutex;
use rejoin_core::Shutdown;
use rejoin_gateway::{InvalidKey, JwksUrl, TokenError, Verifier};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, advance},
};

use crate::{
    signing::{ED25519, OTHER, P256, Pair, RSA, hs256},
    support::TestServer,
};

/// An issuer that ends with the test.
struct Issuer {
    /// Of the issuer's own tasks.
    own: Shutdown,
    /// Of the verifiers' tasks.
    shutdown: Shutdown,
    url: JwksUrl,
    /// The next answers, as they are on the wire.
    answer: Arc<Mutex<Vec<u8>>>,
    requests: Arc<AtomicUsize>,
    /// One permit for each answer that may be given.
    gate: Arc<Semaphore>,
}

fn ok(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn keys(keys: &[Value]) -> Vec<u8> {
    ok(json!({ "keys": keys }).to_string().as_bytes())
}

fn key(pair: Pair, kid: &str) -> Vec<u8> {
    keys(&[pair.jwk(kid, json!({}))])
}

/// What hangs up at once.
fn away() -> Vec<u8> {
    Vec::new()
}

impl Issuer {
    async fn start(answer: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys?of=all", listener.local_addr().unwrap());
        let issuer = Self {
            own: Shutdown::new(),
            shutdown: Shutdown::new(),
            url: JwksUrl::new(&url).unwrap(),
            answer: Arc::new(Mutex::new(answer)),
            requests: Arc::default(),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        };
        let (answer, requests) = (Arc::clone(&issuer.answer), Arc::clone(&issuer.requests));
        let (gate, own) = (Arc::clone(&issuer.gate), issuer.own.clone());
        issuer.own.spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { return };
                requests.fetch_add(1, Ordering::SeqCst);
                let (answer, gate) = (Arc::clone(&answer), Arc::clone(&gate));
                own.spawn(async move { respond(socket, &answer, &gate).await });
            }
        });
        issuer
    }

    fn says(&self, answer: Vec<u8>) {
        *self.answer.lock() = answer;
    }

    fn verifier(&self) -> Verifier {
        Verifier::jwks(self.url.clone(), &self.shutdown).unwrap()
    }

    /// A verifier that has had its first answer.
    async fn known_verifier(&self) -> Verifier {
        let verifier = self.verifier();
        let _ = verifier.verify(&RSA.token(None)).await;
        assert_eq!(self.requests(), 1);
        verifier
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

async fn respond(mut socket: TcpStream, answer: &Mutex<Vec<u8>>, gate: &Semaphore) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    assert!(head.starts_with(b"GET /keys?of=all HTTP/1.1\r\n"));
    gate.acquire().await.unwrap().forget();
    let answer = answer.lock().clone();
    // Who has heard enough hangs up.
    let _ = socket.write_all(&answer).await;
}

async fn user(verifier: &Verifier, token: &str) -> String {
    verifier.verify(token).await.unwrap().user.as_str().to_owned()
}

async fn refusal(verifier: &Verifier, token: &str) -> TokenError {
    verifier.verify(token).await.unwrap_err()
}

#[tokio::test]
async fn the_first_token_waits_for_the_first_keys() {
    let issuer = Issuer::start(key(RSA, "a")).await;
    let verifier = issuer.verifier();
    assert_eq!(user(&verifier, &RSA.token(Some("a"))).await, "ann");
    assert!(verifier.verify_at_once(&RSA.token(Some("a"))).is_some());
    assert_eq!(user(&verifier, &RSA.token(None)).await, "ann");
    assert_eq!(issuer.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_fetched_once_for_all_who_come_with_it() {
    let issuer = Issuer::start(key(RSA, "a")).await;
    let verifier = issuer.known_verifier().await;
    advance(Duration::from_secs(31)).await;
    issuer.says(keys(&[RSA.jwk("a", json!({})), ED25519.jwk("b", json!({}))]));
    let (old, new) = (RSA.token(Some("a")), ED25519.token(Some("b")));
    let each = (0..100).map(|_| user(&verifier, &new));
    let users = futures_util::future::join_all(each).await;
    assert!(users.len() == 100 && users.iter().all(|user| user == "ann"));
    assert_eq!(user(&verifier, &old).await, "ann");
    assert_eq!(issuer.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_keys_are_fetched_waits_for_the_same_answer() {
    let issuer = Issuer::start(key(RSA, "a")).await;
    let verifier = issuer.known_verifier().await;
    advance(Duration::from_secs(31)).await;
    issuer.says(key(OTHER, "b"));
    issuer.gate.forget_permits(Semaphore::MAX_PERMITS);
    let token = OTHER.token(Some("b"));
    let mut first = Box::pin(user(&verifier, &token));
    // It asks, and the issuer thinks.
    while issuer.requests() < 2 {
        assert!(futures_util::poll!(&mut first).is_pending());
        tokio::task::yield_now().await;
    }
    let mut second = Box::pin(user(&verifier, &token));
    assert!(futures_util::poll!(&mut second).is_pending());
    // The first goes away; what it asked for comes nevertheless.
    drop(first);
    issuer.gate.add_permits(1);
    assert_eq!(second.await, "ann");
    assert_eq!(issuer.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn made_up_key_ids_cost_the_issuer_one_request_in_thirty_seconds() {
    let issuer = Issuer::start(key(RSA, "a")).await;
    let verifier = issuer.known_verifier().await;
    let made_up: Vec<_> = (0..10).map(|id| ED25519.token(Some(&format!("made-up-{id}")))).collect();
    for token in made_up.iter().cycle().take(1000) {
        assert_eq!(refusal(&verifier, token).await, TokenError::UnknownKey);
    }
    assert_eq!(issuer.requests(), 1, "the keys are younger than thirty seconds");
    advance(Duration::from_secs(31)).await;
    for token in made_up.iter().cycle().take(1000) {
        assert_eq!(refusal(&verifier, token).await, TokenError::UnknownKey);
    }
    assert_eq!(issuer.requests(), 2);
    // Those who are known do not wait.
    assert!(verifier.verify_at_once(&RSA.token(Some("a"))).unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_anew_every_ten_minutes_and_withdrawn_ones_go() {
    let issuer = Issuer::start(key(RSA, "a")).await;
    let verifier = issuer.known_verifier().await;
    issuer.says(key(OTHER, "b"));
    let (before, token) = (Instant::now(), OTHER.token(Some("b")));
    until(|| verifier.verify_at_once(&token).is_some_and(|result| result.is_ok())).await;
    assert!(before.elapsed() > Duration::from_secs(9 * 60), "{:?}", before.elapsed());
    assert_eq!(refusal(&verifier, &RSA.token(Some("a"))).await, TokenError::UnknownKey);
    assert_eq!(issuer.requests(), 2);
}

/// Lets time pass until something holds.
async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn known_keys_stay_while_the_issuer_is_away_or_says_nonsense() {
    let issuer = Issuer::start(key(RSA, "a")).await;
    let verifier = issuer.known_verifier().await;
    let (known, unknown) = (RSA.token(Some("a")), OTHER.token(Some("b")));
    // What has the key, but must not be believed for another reason.
    let good = OTHER.jwk("b", json!({}));
    let long = json!({ "keys": [good], "x": "x".repeat(1 << 20) }).to_string();
    let instead = |status: &str| {
        let status = format!("HTTP/1.1 {status}\r\nLocation: /other\r\n");
        [status.as_bytes(), &keys(std::slice::from_ref(&good))["HTTP/1.1 200 OK\r\n".len()..]]
            .concat()
    };
    let many: Vec<_> = (0..65).map(|id| OTHER.jwk(&id.to_string(), json!({}))).collect();
    let useless = [
        away(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"ke".to_vec(),
        b"what is this?\r\n\r\n".to_vec(),
        instead("302 Found"),
        instead("500 Internal Server Error"),
        ok(b"<html>Log in</html>"),
        ok(b"{}"),
        ok(long.as_bytes()),
        keys(&[]),
        keys(&many),
        keys(&[OTHER.jwk("b", json!({ "use": "enc" }))]),
        keys(&[json!({ "kty": "oct", "kid": "b", "k": "c2VjcmV0" })]),
    ];
    for answer in useless {
        let (requests, text) = (issuer.requests(), String::from_utf8_lossy(&answer).into_owned());
        let text = &text[..text.len().min(80)];
        issuer.says(answer);
        advance(Duration::from_secs(31)).await;
        assert_eq!(refusal(&verifier, &unknown).await, TokenError::KeysUnavailable, "{text}");
        assert!(issuer.requests() > requests, "{text}");
        assert_eq!(user(&verifier, &known).await, "ann", "{text}");
    }
    issuer.says(key(OTHER, "b"));
    advance(Duration::from_secs(31)).await;
    assert_eq!(user(&verifier, &unknown).await, "ann");
}

#[tokio::test(start_paused = true)]
async fn an_endless_answer_is_cut_off() {
    // No length, and more than anybody wants to hold.
    let endless = [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b' '; 64 << 20]].concat();
    let issuer = Issuer::start(endless).await;
    let verifier = issuer.verifier();
    assert_eq!(refusal(&verifier, &RSA.token(None)).await, TokenError::KeysUnavailable);
    issuer.says(key(RSA, "a"));
    until(|| verifier.verify_at_once(&RSA.token(None)).is_some_and(|result| result.is_ok())).await;
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_never_answers_is_waited_for_five_seconds() {
    let issuer = Issuer::start(key(RSA, "a")).await;
    issuer.gate.forget_permits(Semaphore::MAX_PERMITS);
    let verifier = issuer.verifier();
    let before = Instant::now();
    assert_eq!(refusal(&verifier, &RSA.token(None)).await, TokenError::KeysUnavailable);
    let waited = before.elapsed();
    assert!(waited >= Duration::from_secs(5) && waited < Duration::from_secs(6), "{waited:?}");
    // Nobody waits again for an issuer that was just found to be away.
    assert_eq!(
        verifier.verify_at_once(&RSA.token(None)).unwrap().unwrap_err(),
        TokenError::KeysUnavailable
    );
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_was_away_at_the_start_is_asked_again() {
    let issuer = Issuer::start(away()).await;
    let verifier = issuer.verifier();
    let token = RSA.token(Some("a"));
    let error = refusal(&verifier, &token).await;
    assert_eq!((error.reason(), &error), ("keys_unavailable", &TokenError::KeysUnavailable));
    issuer.says(key(RSA, "a"));
    // Nobody asks for it.
    until(|| verifier.verify_at_once(&token).is_some_and(|result| result.is_ok())).await;
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_stays_away_is_asked_ever_more_rarely() {
    let issuer = Issuer::start(away()).await;
    let _verifier = issuer.verifier();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    // At 0, 5, 15, 35, 75, 155, 315 and 635 s, then every ten minutes.
    assert_eq!(issuer.requests(), 12);
}

#[tokio::test]
async fn what_was_signed_with_a_published_secret_or_a_public_key_is_refused() {
    let published = json!({ "kty": "oct", "kid": "s", "alg": "HS256", "k": "c2VjcmV0" });
    let issuer = Issuer::start(keys(&[P256.jwk("a", json!({})), published])).await;
    let verifier = issuer.known_verifier().await;
    for (secret, kid) in [(&b"secret"[..], "s"), (P256.pem.as_bytes(), "a")] {
        let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::HS256) };
        let token = hs256(secret, &header, &json!({ "sub": "ann" }));
        let error = refusal(&verifier, &token).await;
        assert!(["algorithm", "signature"].contains(&error.reason()), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_shutdown_known_keys_verify_and_nobody_waits() {
    let issuer = Issuer::start(key(RSA, "a")).await;
    let verifier = issuer.known_verifier().await;
    assert_eq!(issuer.shutdown.finish(Duration::from_secs(5)).await, 0);
    advance(Duration::from_secs(31)).await;
    assert_eq!(user(&verifier, &RSA.token(Some("a"))).await, "ann");
    assert_eq!(refusal(&verifier, &OTHER.token(Some("b"))).await, TokenError::UnknownKey);
}

#[tokio::test]
async fn a_client_is_told_to_come_back_when_the_issuer_is_away() {
    let issuer = Issuer::start(away()).await;
    let verifier = issuer.verifier();
    let token = RSA.token(Some("a"));
    let configure = |config: &mut rejoin_gateway::GatewayConfig| config.verifier = verifier;
    let server = TestServer::start_with(configure, |gateway| gateway).await;
    let mut client = server.connect().await;
    let answer = client.ask("authenticate", json!({ "token": token })).await;
    assert_eq!(answer["payload"]["error"]["code"], "keys_unavailable", "{answer}");
    assert_eq!(answer["payload"]["error"]["retryable"], true);
    assert_eq!(client.until_closed().await.1, Some(4004));
}

#[test]
fn keys_come_over_tls_or_from_this_machine() {
    for good in [
        "https://login.example/keys",
        "https://login.example:8443/a?b=c",
        "http://127.0.0.1:8080/keys",
        "http://127.1.2.3/keys",
        "http://[::1]:8080/keys",
        "http://localhost/keys",
    ] {
        assert_eq!(JwksUrl::new(good).unwrap().to_string(), good);
    }
    for wrong in [
        "http://login.example/keys",
        "http://localhost.example/keys",
        "http://127.0.0.1.example/keys",
        "http://127.0.0.1@login.example/keys",
        "https://name:password@login.example/keys",
        "http://192.168.0.1/keys",
        "file:///etc/passwd",
        "ftp://login.example/keys",
        "login.example/keys",
        "/keys",
        "https://",
        "",
        "not an address",
    ] {
        assert_eq!(JwksUrl::new(wrong).unwrap_err(), InvalidKey::Url { url: wrong.to_owned() });
    }
}

#[tokio::test(start_paused = true)]
async fn an_issuer_without_tls_where_it_is_expected_is_not_believed() {
    let issuer = Issuer::start(key(RSA, "a")).await;
    let url = issuer.url.to_string().replacen("http://", "https://", 1);
    let verifier = Verifier::jwks(JwksUrl::new(&url).unwrap(), &issuer.shutdown).unwrap();
    assert_eq!(refusal(&verifier, &RSA.token(None)).await, TokenError::KeysUnavailable);
}
