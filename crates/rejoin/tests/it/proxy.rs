//! A line between a client and a server that a test can cut.

use std::{
    io,
    net::{Shutdown, TcpListener, TcpStream},
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

/// Lines that may have been made before the test asks for them.
const LINES: usize = 8;

/// Passes on what comes, until it is cut.
pub(crate) struct Proxy {
    /// `http://` and its address.
    pub(crate) url: String,
    /// The lines that were made.
    lines: Receiver<TcpStream>,
}

impl Proxy {
    pub(crate) fn to(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = url.strip_prefix("http://").unwrap().to_owned();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (lines_tx, lines) = sync_channel(LINES);
        // It ends with the process: nobody connects any more once the test is over.
        thread::spawn(move || {
            for client in listener.incoming().map(Result::unwrap) {
                let server = TcpStream::connect(&server).unwrap();
                pass_on(client.try_clone().unwrap(), server.try_clone().unwrap());
                pass_on(server, client.try_clone().unwrap());
                if lines_tx.send(client).is_err() {
                    return;
                }
            }
        });
        Self { url, lines }
    }

    /// Cuts the line that was made first.
    pub(crate) fn cut(&self) {
        self.lines.recv().unwrap().shutdown(Shutdown::Both).unwrap();
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
}
