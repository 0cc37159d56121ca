//! A WebSocket client that breaks the rules: raw frames, unread sockets, ignored closes.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::support::{Server, until};

/// Receive buffer of the socket, in bytes: full after a few messages.
const RECEIVE_BUFFER: usize = 4096;

/// Limit for a read, a write, and the server's release of the socket.
const PATIENCE: Duration = Duration::from_secs(60);

/// RFC 6455 §5.2.
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A client of `rejoin.v1` that does only what the test does.
pub(crate) struct Hostile {
    socket: BufReader<TcpStream>,
    /// The server's id of the connection; empty for a plain endpoint.
    pub(crate) id: String,
    /// The links to the server's open files, and the server's end of this socket among them.
    files: PathBuf,
    server_end: PathBuf,
    pub(crate) pings: usize,
}

impl Server {
    /// Opens a WebSocket; panics if it is refused.
    pub(crate) fn hostile(&self, token: &str, device: &str) -> Hostile {
        self.upgrade(token, device).expect("an upgrade")
    }

    /// Opens a WebSocket, or returns the status of the refusal.
    pub(crate) fn upgrade(&self, token: &str, device: &str) -> Result<Hostile, u16> {
        let mut client = self.open(&format!("/ws?device_id={device}"), token)?;
        let result = client.until(|message| message["type"] == "auth_result").unwrap();
        result["payload"]["connection_id"].as_str().unwrap().clone_into(&mut client.id);
        Ok(client)
    }

    /// Opens a WebSocket of this path, or returns the status of the refusal.
    pub(crate) fn open(&self, path: &str, token: &str) -> Result<Hostile, u16> {
        self.open_with(path, token, "")
    }

    /// The same with more lines of headers, each with its line end.
    pub(crate) fn open_with(&self, path: &str, token: &str, headers: &str) -> Result<Hostile, u16> {
        self.open_as(path, &format!("Authorization: Bearer {token}\r\n{headers}"))
    }

    /// The same without a token in the headers.
    pub(crate) fn open_without_token(&self, path: &str) -> Result<Hostile, u16> {
        self.open_as(path, "")
    }

    fn open_as(&self, path: &str, headers: &str) -> Result<Hostile, u16> {
        let address: SocketAddr = self.address().parse().unwrap();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(RECEIVE_BUFFER).unwrap();
        socket.connect(&address.into()).unwrap();
        let mut socket = TcpStream::from(socket);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        let server_end = server_end(address, socket.local_addr().unwrap());

        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        socket.write_all(request.as_bytes()).unwrap();
        let mut socket = BufReader::new(socket);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(socket.read_line(&mut head).unwrap() > 0, "an answer that ends: {head}");
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        if status != 101 {
            return Err(status);
        }

        let files = format!("/proc/{}/fd", self.pid()).into();
        Ok(Hostile { socket, id: String::new(), files, server_end, pings: 0 })
    }
}

impl Hostile {
    /// Sends these frames in one write. A server that has closed the socket takes none.
    pub(crate) fn send(&self, frames: &[Vec<u8>]) {
        let _ = self.socket.get_ref().write_all(&frames.concat());
    }

    /// Sends a message and returns its answer.
    pub(crate) fn ask(&mut self, kind: &str, payload: Value) -> Value {
        self.try_ask(kind, payload).unwrap()
    }

    /// The same; an error says how the connection was closed.
    pub(crate) fn try_ask(&mut self, kind: &str, payload: Value) -> Result<Value, String> {
        self.send(&[message(kind, payload)]);
        self.until(|message| message["reply_to"] == kind)
    }

    /// Creates a terminal and attaches to it; returns its id.
    pub(crate) fn attach_to_new_terminal(&mut self) -> String {
        let created = self.ask("create_session", json!({ "kind": "terminal" }));
        let session = created["payload"]["session"]["id"].as_str().unwrap().to_owned();
        let attached = self.ask("attach", json!({ "session": session }));
        assert_eq!(attached["type"], "attached", "{attached}");
        session
    }

    /// Reads until the program of an attached session has printed a text.
    pub(crate) fn until_printed(&mut self, text: &str) {
        let mut printed = Vec::new();
        while !String::from_utf8_lossy(&printed).contains(text) {
            let (opcode, payload) = self.frame().expect("more output");
            if opcode == BINARY {
                printed.extend(payload);
            }
        }
    }

    /// Subscribes to a topic and floods it, which fills the socket.
    pub(crate) fn block(&mut self, server: &Server, topic: &str) {
        let answer = self.ask("subscribe", json!({ "topic": topic }));
        assert_eq!(answer["type"], "ack", "{answer}");
        server.admin().flood(topic);
    }

    /// Reads the next binary frame.
    pub(crate) fn binary(&mut self) -> Vec<u8> {
        loop {
            let (opcode, payload) = self.frame().unwrap();
            if opcode == BINARY {
                return payload;
            }
        }
    }

    /// Reads until the close frame, without an answer; returns its code.
    pub(crate) fn close_code(&mut self) -> u16 {
        loop {
            let (opcode, payload) = self.frame().expect("a close frame");
            if opcode == CLOSE {
                return u16::from_be_bytes([payload[0], payload[1]]);
            }
        }
    }

    /// Reads until the server has shut its side down.
    pub(crate) fn read_to_end(&mut self) {
        while self.frame().is_ok() {}
    }

    /// Reads a frame that arrives within this time, and answers a ping. An error says how the
    /// connection was closed.
    pub(crate) fn read_for(&mut self, time: Duration) -> Result<(), String> {
        self.socket.get_ref().set_read_timeout(Some(time)).unwrap();
        let read = match self.frame() {
            Ok((PING, payload)) => {
                self.pings += 1;
                self.send(&[frame(PONG, &payload)]);
                Ok(())
            }
            Ok((CLOSE, payload)) => {
                let reason = String::from_utf8_lossy(&payload);
                Err(format!("closed after {} pings: {reason}", self.pings))
            }
            Ok(_) => Ok(()),
            Err(error) if is_timeout(&error) => Ok(()),
            Err(error) => Err(format!("{error} after {} pings", self.pings)),
        };
        self.socket.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
        read
    }

    /// Reads binary messages until they hold this text.
    pub(crate) fn prints(&mut self, text: &str) {
        let mut printed = String::new();
        while !printed.contains(text) {
            let (_, payload) = self.frame().expect("more output");
            printed += &String::from_utf8_lossy(&payload);
        }
    }

    /// Waits until the server has handled all that was sent.
    pub(crate) fn fence(&mut self) {
        self.send(&[frame(PING, b"fence")]);
        while self.frame().expect("a pong") != (PONG, b"fence".to_vec()) {}
    }

    /// Sends a close frame with 1000.
    pub(crate) fn close(&self) {
        self.send(&[frame(CLOSE, &1000_u16.to_be_bytes())]);
    }

    /// Shuts the client's side down.
    pub(crate) fn half_close(&self) {
        let _ = self.socket.get_ref().shutdown(Shutdown::Write);
    }

    /// Waits until the server has closed its end: it has read all that it will ever read.
    pub(crate) fn until_released(&self) {
        until(PATIENCE, "the server closes the socket", || {
            let mut links = fs::read_dir(&self.files).unwrap();
            !links.any(|link| {
                let target = fs::read_link(link.unwrap().path());
                target.is_ok_and(|target| target == self.server_end)
            })
        });
    }

    /// Returns the next message that matches.
    pub(crate) fn until(&mut self, matches: impl Fn(&Value) -> bool) -> Result<Value, String> {
        loop {
            let (opcode, payload) = self.frame().map_err(|error| error.to_string())?;
            if opcode == CLOSE {
                return Err(String::from_utf8_lossy(&payload).into_owned());
            }
            if opcode == TEXT {
                let message = serde_json::from_slice(&payload).unwrap();
                if matches(&message) {
                    return Ok(message);
                }
            }
        }
    }

    /// Returns the opcode and the payload of the next frame.
    fn frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        // A time-out before the first byte loses nothing, nor does a signal.
        while let Err(error) = self.socket.fill_buf() {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        let [first, length] = self.bytes()?;
        let length = match length {
            126 => u64::from(u16::from_be_bytes(self.bytes()?)),
            127 => u64::from_be_bytes(self.bytes()?),
            length => u64::from(length),
        };
        let mut payload = Vec::new();
        self.socket.by_ref().take(length).read_to_end(&mut payload)?;
        Ok((first & 0x0f, payload))
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.socket.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// A text frame with a message of `rejoin.v1`.
#[expect(clippy::needless_pass_by_value, reason = "callers make it in place")]
pub(crate) fn message(kind: &str, payload: Value) -> Vec<u8> {
    let message = json!({ "id": kind, "type": kind, "payload": payload });
    frame(TEXT, message.to_string().as_bytes())
}

/// A binary frame.
pub(crate) fn binary(bytes: &[u8]) -> Vec<u8> {
    frame(BINARY, bytes)
}

/// A binary frame that is no input: the server closes with 4505.
pub(crate) fn broken_input() -> Vec<u8> {
    binary(&[0xff])
}

/// A masked frame.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [1, 2, 3, 4];
    let mut frame = vec![0x80 | opcode];
    match u8::try_from(payload.len()) {
        Ok(length @ 0..126) => frame.push(0x80 | length),
        _ => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// The link in `/proc/PID/fd` to the server's end of a connected socket (proc(5)).
fn server_end(server: SocketAddr, client: SocketAddr) -> PathBuf {
    let of = |address: SocketAddr| format!("0100007F:{:04X}", address.port());
    let ends = [of(server), of(client)];
    let find = || {
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        table.lines().find_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let is_it = fields[1] == ends[0] && fields[2] == ends[1] && fields[9] != "0";
            is_it.then(|| Path::new(&format!("socket:[{}]", fields[9])).to_owned())
        })
    };
    let mut found = None;
    until(PATIENCE, "the server accepts", || {
        found = find();
        found.is_some()
    });
    found.unwrap()
}
