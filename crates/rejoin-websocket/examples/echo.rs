//! A WebSocket server that echoes each message, for `cargo xtask conformance`.
//!
//! It listens on the address in the first argument, or on a free port of 127.0.0.1, and prints the
//! address.

use std::{
    env,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
};

use bytes::Bytes;
use rejoin_websocket::{
    Decoder, Error, Event, MessageKind, Side, close, deflate, encode,
    handshake::{accept, accept_deflate},
    pong,
};

/// The longest message of the conformance suite.
const MAX_MESSAGE_BYTES: usize = 16 << 20;
const MAX_REQUEST_BYTES: usize = 16 << 10;
const READ_BYTES: usize = 64 << 10;

fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address)?;
    writeln!(io::stdout(), "{}", listener.local_addr()?)?;

    for stream in listener.incoming() {
        let stream = stream?;
        thread::spawn(move || {
            if let Err(error) = serve(stream) {
                let _ = writeln!(io::stderr(), "{error}");
            }
        });
    }

    Ok(())
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (request, mut input) = read_request(&mut stream)?;
    let Some((response, deflates)) = respond(&request) else {
        return stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    };

    stream.write_all(response.as_bytes())?;
    let mut decoder = Decoder::new(Side::Server, MAX_MESSAGE_BYTES);
    if deflates {
        decoder = decoder.with_deflate();
    }

    // Bytes that arrived together with the request are decoded first.
    let mut buffer = vec![0; READ_BYTES];
    let mut echo = Echo { stream, deflates };

    loop {
        if echo.answer(&mut decoder, &mut input)?.is_closed() {
            return echo.finish();
        }

        let len = echo.stream.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }

        input.clear();
        input.extend_from_slice(&buffer[..len]);
    }
}

/// The status of a connection after its input was answered.
enum Status {
    Open,
    Closed,
}

impl Status {
    fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

/// The sending half of a connection.
struct Echo {
    stream: TcpStream,
    deflates: bool,
}

impl Echo {
    /// Decodes `input` and answers each event.
    fn answer(&mut self, decoder: &mut Decoder, input: &mut [u8]) -> io::Result<Status> {
        let mut feed = decoder.feed(input);
        loop {
            match feed.next() {
                Ok(None) => return Ok(Status::Open),
                Ok(Some(Event::Text(text))) => {
                    self.send(encode(MessageKind::Text, &[text.as_bytes()]))?;
                }
                Ok(Some(Event::Binary(payload))) => {
                    self.send(encode(MessageKind::Binary, &[payload]))?;
                }
                Ok(Some(Event::Ping(payload))) => self.stream.write_all(&pong(payload))?,
                Ok(Some(Event::Pong(_))) => {}
                Ok(Some(Event::Close(frame))) => {
                    // The answer repeats the code. A close without one means 1005, which must not
                    // be sent (RFC 6455 §7.4.1).
                    let code = frame.map_or(1000, |frame| frame.code);
                    self.stream.write_all(&close(code, ""))?;
                    return Ok(Status::Closed);
                }
                Err(error) => {
                    self.stream.write_all(&error_close(error))?;
                    return Ok(Status::Closed);
                }
            }
        }
    }

    fn send(&mut self, plain: Bytes) -> io::Result<()> {
        let compressed = if self.deflates { deflate(&plain) } else { None };
        self.stream.write_all(&compressed.unwrap_or(plain))
    }

    /// Ends the connection after the peer has ended it.
    ///
    /// Closing a socket with unread input resets the connection, and the peer could lose the last
    /// frame.
    fn finish(mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)?;
        io::copy(&mut self.stream, &mut io::sink())?;
        Ok(())
    }
}

fn error_close(error: Error) -> Bytes {
    close(error.close_code(), &error.to_string())
}

/// Reads the head of a request; returns it and the bytes after it.
fn read_request(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    const END: &[u8] = b"\r\n\r\n";

    let mut bytes = Vec::new();
    loop {
        if let Some(at) = bytes.windows(END.len()).position(|window| window == END) {
            let rest = bytes.split_off(at + END.len());
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }

        let mut buffer = [0; 1024];
        let len = stream.read(&mut buffer)?;

        if len == 0 || bytes.len() > MAX_REQUEST_BYTES {
            return Err(io::Error::other("the request is incomplete or too long"));
        }

        bytes.extend_from_slice(&buffer[..len]);
    }
}

/// Returns the head of the response, and `true` if it negotiates permessage-deflate.
///
/// Returns `None` for an invalid request.
fn respond(request: &str) -> Option<(String, bool)> {
    let headers: Vec<_> = request
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim().as_bytes()))
        .collect();

    let accepted = accept(headers.iter().copied()).ok()?;
    let extensions = headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-extensions"))
        .map(|(_, value)| *value);
    let agreed = accept_deflate(extensions);
    let agreed_line =
        agreed.map(|value| format!("sec-websocket-extensions: {value}\r\n")).unwrap_or_default();

    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {accepted}\r\n{agreed_line}\r\n"
    );
    Some((response, agreed.is_some()))
}
