//! A test program that receives webhooks and answers as a test configures it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_STANDARD};
use parking_lot::Mutex;
use rejoin_core::Shutdown;
use rejoin_gateway::{Webhook, WebhookSecret, WebhookUrl};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

const SECRET: [u8; 32] = *b"thirty-two bytes that are random";

/// The reaction to a request.
#[derive(Clone)]
pub(crate) enum Answer {
    /// Sends these bytes and closes the connection.
    Says(Vec<u8>),
    /// Sends these bytes and keeps the connection open.
    Keeps(Vec<u8>),
    /// Sends nothing.
    Hangs,
}

pub(crate) fn status(status: &str) -> Answer {
    Answer::Keeps(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into())
}

pub(crate) fn body(status: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let length = body.len();
    Answer::Keeps(format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}").into())
}

/// A received request.
#[derive(Debug)]
pub(crate) struct Called {
    head: String,
    body: Vec<u8>,
}

impl Called {
    fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).expect(name).1
    }

    /// Verifies the signature of the request. Returns its body.
    pub(crate) fn verified(&self) -> Value {
        let (id, seconds) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        let signed = [format!("{id}.{seconds}.").as_bytes(), &self.body].concat();
        let signature = self.header("webhook-signature").strip_prefix("v1,").unwrap();
        let signature = BASE64_STANDARD.decode(signature).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &SECRET);
        hmac::verify(&key, &signed, &signature).expect("a valid signature");
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(body["id"], id);
        body
    }
}

/// A program that stops when it is dropped.
pub(crate) struct Program {
    pub(crate) own: Shutdown,
    url: String,
    /// The next answers. The last one is repeated.
    answers: Arc<Mutex<VecDeque<Answer>>>,
    pub(crate) called: mpsc::Receiver<Called>,
}

impl Program {
    pub(crate) async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?a=b", listener.local_addr().unwrap());
        let answers = Arc::new(Mutex::new(answers.into_iter().collect()));
        let (called_tx, called) = mpsc::channel(10_000);
        let own = Shutdown::new();
        let program = Self { own: own.clone(), url, answers: Arc::clone(&answers), called };
        program.own.spawn(async move {
            loop {
                let (socket, _) = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap(),
                    () = own.begun() => return,
                };

                let (answers, called_tx) = (Arc::clone(&answers), called_tx.clone());
                own.spawn(async move { serve(socket, &answers, &called_tx).await });
            }
        });

        program
    }

    pub(crate) fn webhook(&self) -> Webhook {
        Webhook {
            url: WebhookUrl::new(&self.url).unwrap(),
            secret: secret(),
            timeout: Duration::from_secs(10),
        }
    }

    /// Returns the next request.
    pub(crate) async fn next(&mut self) -> Called {
        self.called.recv().await.unwrap()
    }

    /// Returns the type of the next event.
    pub(crate) async fn next_kind(&mut self) -> String {
        self.next().await.verified()["type"].as_str().unwrap().to_owned()
    }

    /// Replaces the next answers.
    pub(crate) fn answers(&self, answers: impl IntoIterator<Item = Answer>) {
        *self.answers.lock() = answers.into_iter().collect();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.own.begin();
    }
}

fn secret() -> WebhookSecret {
    WebhookSecret::new(&format!("whsec_{}", BASE64_STANDARD.encode(SECRET))).unwrap()
}

async fn serve(
    socket: TcpStream,
    answers: &Mutex<VecDeque<Answer>>,
    called: &mpsc::Sender<Called>,
) {
    let mut socket = BufReader::new(socket);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if socket.read_line(&mut head).await.is_ok_and(|length| length == 0) {
                return;
            }
        }

        assert!(head.starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{head}");
        let mut request = Called { head, body: Vec::new() };
        request.body.resize(request.header("content-length").parse().unwrap(), 0);
        socket.read_exact(&mut request.body).await.unwrap();
        let answer = {
            let mut answers = answers.lock();
            if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }
        };

        called.send(request).await.unwrap();
        match answer.expect("an answer") {
            Answer::Says(bytes) => {
                let _ = socket.write_all(&bytes).await;
                return;
            }
            Answer::Keeps(bytes) => {
                let _ = socket.write_all(&bytes).await;
            }
            Answer::Hangs => std::future::pending().await,
        }
    }
}
