//! A TCP proxy whose connections a test can cut.

use std::{
    io,
    net::{Shutdown, TcpListener, TcpStream},
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

/// Bound of connections that are open before the test cuts the first.
const MAX_CONNECTIONS: usize = 8;

/// A proxy in front of a server. It runs until the test process ends.
pub(crate) struct TestProxy {
    /// The URL of the proxy, without a slash at the end.
    pub(crate) url: String,
    /// The client's sockets in the order of their connects.
    connections: Receiver<TcpStream>,
}

impl TestProxy {
    /// Starts a proxy for the server with this URL.
    pub(crate) fn start(server_url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = server_url.strip_prefix("http://").unwrap().to_owned();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (connections_tx, connections) = sync_channel(MAX_CONNECTIONS);

        thread::spawn(move || {
            // The thread ends with the test process; it has nothing to clean up.
            for client in listener.incoming().map(Result::unwrap) {
                let server = TcpStream::connect(&server).unwrap();
                forward(client.try_clone().unwrap(), server.try_clone().unwrap());
                forward(server, client.try_clone().unwrap());
                if connections_tx.send(client).is_err() {
                    return;
                }
            }
        });
        Self { url, connections }
    }

    /// Cuts the oldest connection.
    pub(crate) fn cut(&self) {
        self.connections.recv().unwrap().shutdown(Shutdown::Both).unwrap();
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
}
