//! A WebSocket client of single frames, which can break the protocol.

use std::{
    collections::VecDeque,
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::support::{TestServer, inflate::inflate, wait_until};

mod encode;

pub(crate) use encode::{binary, invalid_input, message, message_with_id};

use encode::frame;

/// Receive buffer of the socket, in bytes. A few messages fill it.
const RECEIVE_BUFFER: usize = 4096;

/// Time limit for a read, a write, and the server's release of the socket.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Opcodes (RFC 6455 §5.2).
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// The flag of a compressed message (RFC 7692 §6).
const COMPRESSED: u8 = 0x40;

/// A message from the server.
pub(crate) enum TestMessage {
    Text(Value),
    Binary(Vec<u8>),
}

/// A client that reads, answers and closes only if the test does.
pub(crate) struct FrameClient {
    socket: BufReader<TcpStream>,
    /// Frames that arrived while a request waited for its reply, in order.
    unread: VecDeque<(u8, Vec<u8>)>,
    /// The number in the id of the last request.
    last_request: u64,
    /// The id of the connection; empty for a raw endpoint.
    pub(crate) id: String,
    /// The directory with links to the server's open files.
    files: PathBuf,
    /// The link target of the server's end of this socket.
    server_end: PathBuf,
    /// Pings that [`Self::read_for`] has answered.
    pub(crate) pings: usize,
    /// The size of the last compressed message on the wire.
    pub(crate) last_compressed: usize,
}

impl TestServer {
    /// Opens an authenticated WebSocket.
    ///
    /// # Panics
    /// If the server refuses it.
    pub(crate) fn frame_client(&self, token: &str, device: &str) -> FrameClient {
        self.try_frame_client(token, device).expect("an upgrade")
    }

    /// Opens an authenticated WebSocket.
    ///
    /// # Errors
    /// The status of the refusal.
    pub(crate) fn try_frame_client(&self, token: &str, device: &str) -> Result<FrameClient, u16> {
        let mut client = self.open_socket(&format!("/ws?device_id={device}"), token)?;
        let result = client.wait_for(|message| message["type"] == "auth_result").unwrap();
        result["payload"]["connection_id"].as_str().unwrap().clone_into(&mut client.id);
        Ok(client)
    }

    /// Opens a WebSocket of any endpoint with a token.
    ///
    /// # Errors
    /// The status of the refusal.
    pub(crate) fn open_socket(&self, path: &str, token: &str) -> Result<FrameClient, u16> {
        self.open_socket_with(path, &format!("Authorization: Bearer {token}\r\n"))
    }

    /// Opens a WebSocket of any endpoint without a token in its headers.
    ///
    /// # Errors
    /// The status of the refusal.
    pub(crate) fn open_without_token(&self, path: &str) -> Result<FrameClient, u16> {
        self.open_socket_with(path, "")
    }

    /// Opens a WebSocket of any endpoint with these header lines, each with its line end.
    ///
    /// # Errors
    /// The status of the refusal.
    pub(crate) fn open_socket_with(&self, path: &str, headers: &str) -> Result<FrameClient, u16> {
        // Raw sockets, for a receive buffer that is small before the connect.
        let address: SocketAddr = self.address().parse().unwrap();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(RECEIVE_BUFFER).unwrap();
        socket.connect(&address.into()).unwrap();
        let mut socket = TcpStream::from(socket);
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        socket.set_write_timeout(Some(TIMEOUT)).unwrap();
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
            assert!(socket.read_line(&mut head).unwrap() > 0, "a response that ends: {head}");
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        if status != 101 {
            return Err(status);
        }

        let files = format!("/proc/{}/fd", self.pid()).into();
        Ok(FrameClient {
            socket,
            unread: VecDeque::new(),
            last_request: 0,
            id: String::new(),
            files,
            server_end,
            pings: 0,
            last_compressed: 0,
        })
    }
}

impl FrameClient {
    /// Sends frames in one write. Does nothing if the server has closed the socket.
    pub(crate) fn send(&self, frames: &[Vec<u8>]) {
        let _ = self.socket.get_ref().write_all(&frames.concat());
    }

    /// Sends a message and returns its reply.
    pub(crate) fn request(&mut self, kind: &str, payload: Value) -> Value {
        self.try_request(kind, payload).unwrap()
    }

    /// Sends a message and returns its reply. Keeps the frames before the reply for later reads.
    ///
    /// # Errors
    /// The close reason, or the error of the socket.
    pub(crate) fn try_request(&mut self, kind: &str, payload: Value) -> Result<Value, String> {
        self.last_request += 1;
        let id = format!("{kind}-{}", self.last_request);
        self.send(&[message_with_id(&id, kind, payload)]);

        loop {
            let (opcode, payload) = self.receive().map_err(|error| error.to_string())?;
            match opcode {
                CLOSE => return Err(String::from_utf8_lossy(&payload).into_owned()),
                TEXT => {
                    let message: Value = serde_json::from_slice(&payload).unwrap();
                    if message["reply_to"] == id {
                        return Ok(message);
                    }
                }
                _ => {}
            }
            self.unread.push_back((opcode, payload));
        }
    }

    /// Creates a terminal session and attaches to it. Returns the id of the session.
    pub(crate) fn attach_to_new_terminal(&mut self) -> String {
        let created = self.request("create_session", json!({ "kind": "terminal" }));
        let session = created["payload"]["session"]["id"].as_str().unwrap().to_owned();
        let attached = self.request("attach", json!({ "session": session }));
        assert_eq!(attached["type"], "attached", "{attached}");
        session
    }

    /// Reads until the program of an attached session has printed a text.
    pub(crate) fn wait_for_output(&mut self, text: &str) {
        let mut printed = Vec::new();
        while !String::from_utf8_lossy(&printed).contains(text) {
            let (opcode, payload) = self.frame().expect("more output");
            if opcode == BINARY {
                printed.extend(payload);
            }
        }
    }

    /// Subscribes to a topic and floods it, which fills the receive buffer.
    pub(crate) fn block(&mut self, server: &TestServer, topic: &str) {
        let reply = self.request("subscribe", json!({ "topic": topic }));
        assert_eq!(reply["type"], "ack", "{reply}");
        server.admin_api().flood(topic);
    }

    /// Returns the next message, text or binary.
    pub(crate) fn next_message(&mut self) -> TestMessage {
        loop {
            match self.frame().unwrap() {
                (TEXT, text) => return TestMessage::Text(serde_json::from_slice(&text).unwrap()),
                (BINARY, bytes) => return TestMessage::Binary(bytes),
                _ => {}
            }
        }
    }

    /// Returns the payload of the next binary frame.
    pub(crate) fn read_binary(&mut self) -> Vec<u8> {
        loop {
            if let TestMessage::Binary(payload) = self.next_message() {
                return payload;
            }
        }
    }

    /// Returns `true` if a binary frame arrived while a request waited for its reply.
    pub(crate) fn has_unread_binary(&self) -> bool {
        self.unread.iter().any(|(opcode, _)| *opcode == BINARY)
    }

    /// Reads until the close frame, and does not answer it. Returns its code.
    pub(crate) fn close_code(&mut self) -> u16 {
        loop {
            let (opcode, payload) = self.frame().expect("a close frame");
            if opcode == CLOSE {
                return u16::from_be_bytes([payload[0], payload[1]]);
            }
        }
    }

    /// Reads until the server has shut down its side.
    pub(crate) fn read_to_end(&mut self) {
        while self.frame().is_ok() {}
    }

    /// Reads one frame if it arrives within `time`, and answers a ping.
    ///
    /// # Errors
    /// The close reason, or the error of the socket.
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
        self.socket.get_ref().set_read_timeout(Some(TIMEOUT)).unwrap();
        read
    }

    /// Waits until the server has handled all earlier frames.
    pub(crate) fn fence(&mut self) {
        self.send(&[frame(PING, b"fence")]);
        while self.frame().expect("a pong") != (PONG, b"fence".to_vec()) {}
    }

    /// Sends a close frame with 1000.
    pub(crate) fn close(&self) {
        self.send(&[frame(CLOSE, &1000_u16.to_be_bytes())]);
    }

    /// Shuts down the client's side.
    pub(crate) fn half_close(&self) {
        let _ = self.socket.get_ref().shutdown(Shutdown::Write);
    }

    /// Waits until the server has closed its end. After that it reads nothing more.
    pub(crate) fn wait_until_released(&self) {
        wait_until(TIMEOUT, "the server closes the socket", || {
            let mut links = fs::read_dir(&self.files).unwrap();
            !links.any(|link| {
                let target = fs::read_link(link.unwrap().path());
                target.is_ok_and(|target| target == self.server_end)
            })
        });
    }

    /// Returns the next message that matches. Discards the frames before it.
    ///
    /// # Errors
    /// The close reason, or the error of the socket.
    pub(crate) fn wait_for(&mut self, matches: impl Fn(&Value) -> bool) -> Result<Value, String> {
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
        match self.unread.pop_front() {
            Some(frame) => Ok(frame),
            None => self.receive(),
        }
    }

    /// Reads a frame from the socket.
    fn receive(&mut self) -> io::Result<(u8, Vec<u8>)> {
        // Waits for the first byte alone: a timeout before it loses no part of a frame.
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
        if first & COMPRESSED != 0 {
            self.last_compressed = payload.len();
            payload = inflate(first, &payload);
        }
        Ok((first & 0x0f, payload))
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.socket.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Returns the link target in `/proc/PID/fd` of the server's end of a socket (proc(5)).
fn server_end(server: SocketAddr, client: SocketAddr) -> PathBuf {
    // The form of `127.0.0.1:PORT` in the table, on a little-endian machine.
    let in_table = |address: SocketAddr| format!("0100007F:{:04X}", address.port());
    let ends = [in_table(server), in_table(client)];
    let find = || {
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        table.lines().find_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            // The inode is 0 until the server has accepted the socket.
            let is_found = fields[1] == ends[0] && fields[2] == ends[1] && fields[9] != "0";
            is_found.then(|| Path::new(&format!("socket:[{}]", fields[9])).to_owned())
        })
    };

    let mut found = None;
    wait_until(TIMEOUT, "the server accepts", || {
        found = find();
        found.is_some()
    });
    found.unwrap()
}
