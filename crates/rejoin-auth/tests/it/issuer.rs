//! The keys of an issuer that replaces them, fails, or sends invalid data.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use jsonwebtoken::{Algorithm, Header};
use parking_lot::Mutex;
use rejoin_auth::{InvalidKey, JwksUrl, TokenError, Verifier};
use rejoin_core::Shutdown;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, advance},
};

use crate::signing::{ED25519, OTHER, P256, Pair, RSA, hs256};

/// An issuer that ends with the test.
struct Issuer {
    /// The owner of the issuer's tasks.
    own: Shutdown,
    /// The owner of the verifiers' tasks.
    shutdown: Shutdown,
    url: JwksUrl,
    /// The next response, as it is on the wire.
    answer: Arc<Mutex<Vec<u8>>>,
    requests: Arc<AtomicUsize>,
    /// One permit for each further response.
    permits: Arc<Semaphore>,
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

/// Returns an empty response: the issuer closes the socket.
fn unavailable() -> Vec<u8> {
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
            permits: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        };
        let (answer, requests) = (Arc::clone(&issuer.answer), Arc::clone(&issuer.requests));
        let (permits, own) = (Arc::clone(&issuer.permits), issuer.own.clone());
        issuer.own.spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { return };
                requests.fetch_add(1, Ordering::SeqCst);
                let (answer, permits) = (Arc::clone(&answer), Arc::clone(&permits));
                own.spawn(async move { respond(socket, &answer, &permits).await });
            }
        });
        issuer
    }

    fn respond_with(&self, answer: Vec<u8>) {
        *self.answer.lock() = answer;
    }

    fn verifier(&self) -> Verifier {
        Verifier::jwks(self.url.clone(), &self.shutdown).unwrap()
    }

    /// Returns a verifier that has fetched its first keys.
    async fn ready_verifier(&self) -> Verifier {
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

async fn respond(mut socket: TcpStream, answer: &Mutex<Vec<u8>>, permits: &Semaphore) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    assert!(head.starts_with(b"GET /keys?of=all HTTP/1.1\r\n"));
    permits.acquire().await.unwrap().forget();
    let answer = answer.lock().clone();
    // The client closes the socket when the response is too long.
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
async fn concurrent_tokens_with_a_new_key_cause_one_fetch() {
    let issuer = Issuer::start(key(RSA, "a")).await;
    let verifier = issuer.ready_verifier().await;
    advance(Duration::from_secs(31)).await;

    issuer.respond_with(keys(&[RSA.jwk("a", json!({})), ED25519.jwk("b", json!({}))]));
    let (old, new) = (RSA.token(Some("a")), ED25519.token(Some("b")));
    let each = (0..100).map(|_| user(&verifier, &new));
    let users = futures_util::future::join_all(each).await;
    assert!(users.len() == 100 && users.iter().all(|user| user == "ann"));
    assert_eq!(user(&verifier, &old).await, "ann");
    assert_eq!(issuer.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_during_a_fetch_waits_for_its_result() {
    let issuer = Issuer::start(key(RSA, "a")).await;
    let verifier = issuer.ready_verifier().await;
    advance(Duration::from_secs(31)).await;
    issuer.respond_with(key(OTHER, "b"));
    issuer.permits.forget_permits(Semaphore::MAX_PERMITS);
    let token = OTHER.token(Some("b"));
    let mut first = Box::pin(user(&verifier, &token));
    // The request is sent, and the issuer withholds the response.
    // Polled by hand, so that the first future can be dropped in the middle.
    while issuer.requests() < 2 {
        assert!(futures_util::poll!(&mut first).is_pending());
        tokio::task::yield_now().await;
    }
    let mut second = Box::pin(user(&verifier, &token));
    assert!(futures_util::poll!(&mut second).is_pending());

    // Dropping the first waiter does not cancel the fetch.
    drop(first);
    issuer.permits.add_permits(1);
    assert_eq!(second.await, "ann");
    assert_eq!(issuer.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn unknown_key_ids_cause_one_fetch_in_thirty_seconds() {
    let issuer = Issuer::start(key(RSA, "a")).await;
    let verifier = issuer.ready_verifier().await;
    let unknown: Vec<_> = (0..10).map(|id| ED25519.token(Some(&format!("unknown-{id}")))).collect();
    for token in unknown.iter().cycle().take(1000) {
        assert_eq!(refusal(&verifier, token).await, TokenError::UnknownKey);
    }
    assert_eq!(issuer.requests(), 1, "the last fetch is younger than thirty seconds");

    advance(Duration::from_secs(31)).await;
    for token in unknown.iter().cycle().take(1000) {
        assert_eq!(refusal(&verifier, token).await, TokenError::UnknownKey);
    }
    assert_eq!(issuer.requests(), 2);

    // Tokens with known keys do not wait.
    assert!(verifier.verify_at_once(&RSA.token(Some("a"))).unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn withdrawn_keys_are_dropped_after_ten_minutes() {
    let issuer = Issuer::start(key(RSA, "a")).await;
    let verifier = issuer.ready_verifier().await;
    issuer.respond_with(key(OTHER, "b"));
    let (before, token) = (Instant::now(), OTHER.token(Some("b")));
    until(|| verifier.verify_at_once(&token).is_some_and(|result| result.is_ok())).await;
    assert!(before.elapsed() > Duration::from_secs(9 * 60), "{:?}", before.elapsed());
    assert_eq!(refusal(&verifier, &RSA.token(Some("a"))).await, TokenError::UnknownKey);
    assert_eq!(issuer.requests(), 2);
}

/// Advances time until a condition holds.
async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn known_keys_stay_while_the_issuer_fails() {
    let issuer = Issuer::start(key(RSA, "a")).await;
    let verifier = issuer.ready_verifier().await;
    let (known, unknown) = (RSA.token(Some("a")), OTHER.token(Some("b")));

    // Responses with a valid key that must be rejected for another reason.
    let good = OTHER.jwk("b", json!({}));
    let long = json!({ "keys": [good], "x": "x".repeat(1 << 20) }).to_string();
    let instead = |status: &str| {
        let status = format!("HTTP/1.1 {status}\r\nLocation: /other\r\n");
        [status.as_bytes(), &keys(std::slice::from_ref(&good))["HTTP/1.1 200 OK\r\n".len()..]]
            .concat()
    };
    let many: Vec<_> = (0..65).map(|id| OTHER.jwk(&id.to_string(), json!({}))).collect();
    let useless = [
        unavailable(),
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
        issuer.respond_with(answer);
        advance(Duration::from_secs(31)).await;
        assert_eq!(refusal(&verifier, &unknown).await, TokenError::KeysUnavailable, "{text}");
        assert!(issuer.requests() > requests, "{text}");
        assert_eq!(user(&verifier, &known).await, "ann", "{text}");
    }

    issuer.respond_with(key(OTHER, "b"));
    advance(Duration::from_secs(31)).await;
    assert_eq!(user(&verifier, &unknown).await, "ann");
}

#[tokio::test(start_paused = true)]
async fn an_endless_response_is_cut_off() {
    // Without a length, and above the limit.
    let endless = [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b' '; 64 << 20]].concat();
    let issuer = Issuer::start(endless).await;
    let verifier = issuer.verifier();
    assert_eq!(refusal(&verifier, &RSA.token(None)).await, TokenError::KeysUnavailable);
    issuer.respond_with(key(RSA, "a"));
    until(|| verifier.verify_at_once(&RSA.token(None)).is_some_and(|result| result.is_ok())).await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_issuer_delays_tokens_for_five_seconds() {
    let issuer = Issuer::start(key(RSA, "a")).await;
    issuer.permits.forget_permits(Semaphore::MAX_PERMITS);
    let verifier = issuer.verifier();

    let before = Instant::now();
    assert_eq!(refusal(&verifier, &RSA.token(None)).await, TokenError::KeysUnavailable);
    let waited = before.elapsed();
    assert!(waited >= Duration::from_secs(5) && waited < Duration::from_secs(6), "{waited:?}");

    // Until the next attempt, tokens do not wait again.
    assert_eq!(
        verifier.verify_at_once(&RSA.token(None)).unwrap().unwrap_err(),
        TokenError::KeysUnavailable
    );
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_again_after_a_failed_start() {
    let issuer = Issuer::start(unavailable()).await;
    let verifier = issuer.verifier();
    let token = RSA.token(Some("a"));

    let error = refusal(&verifier, &token).await;
    assert_eq!((error.reason(), &error), ("keys_unavailable", &TokenError::KeysUnavailable));
    issuer.respond_with(key(RSA, "a"));
    // Without a token that demands it.
    until(|| verifier.verify_at_once(&token).is_some_and(|result| result.is_ok())).await;
}

#[tokio::test(start_paused = true)]
async fn fetches_become_rarer_while_the_issuer_fails() {
    let issuer = Issuer::start(unavailable()).await;
    let _verifier = issuer.verifier();
    tokio::time::sleep(Duration::from_secs(3600)).await;

    // At 0, 5, 15, 35, 75, 155, 315 and 635 s, then every ten minutes.
    assert_eq!(issuer.requests(), 12);
}

#[tokio::test]
async fn a_published_secret_verifies_nothing() {
    let published = json!({ "kty": "oct", "kid": "s", "alg": "HS256", "k": "c2VjcmV0" });
    let issuer = Issuer::start(keys(&[P256.jwk("a", json!({})), published])).await;
    let verifier = issuer.ready_verifier().await;

    for (secret, kid) in [(&b"secret"[..], "s"), (P256.pem.as_bytes(), "a")] {
        let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::HS256) };
        let token = hs256(secret, &header, &json!({ "sub": "ann" }));
        let error = refusal(&verifier, &token).await;
        assert!(["algorithm", "signature"].contains(&error.reason()), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn known_keys_verify_after_the_shutdown() {
    let issuer = Issuer::start(key(RSA, "a")).await;
    let verifier = issuer.ready_verifier().await;

    assert_eq!(issuer.shutdown.finish(Duration::from_secs(5)).await, 0);
    advance(Duration::from_secs(31)).await;
    assert_eq!(user(&verifier, &RSA.token(Some("a"))).await, "ann");
    assert_eq!(refusal(&verifier, &OTHER.token(Some("b"))).await, TokenError::UnknownKey);
}

#[test]
fn keys_are_fetched_over_tls_or_from_this_machine() {
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
async fn an_https_issuer_without_tls_is_refused() {
    let issuer = Issuer::start(key(RSA, "a")).await;
    let url = issuer.url.to_string().replacen("http://", "https://", 1);
    let verifier = Verifier::jwks(JwksUrl::new(&url).unwrap(), &issuer.shutdown).unwrap();
    assert_eq!(refusal(&verifier, &RSA.token(None)).await, TokenError::KeysUnavailable);
}
