//! A proxy that delays and throttles both directions of its connections.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::clock;
use crate::report::as_float;

/// The bytes of one read: their transfer takes 16 ms at 1 Mbit/s.
const CHUNK_BYTES: usize = 2048;
/// Chunks on their way in one direction: the buffer of a router, 64 KiB.
const CHUNKS: usize = 32;

/// The properties of a link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// The rate of each direction.
    pub(crate) bytes_per_second: u32,
    /// The delay of each direction: half of the round trip.
    pub(crate) delay: Duration,
}

/// Bytes and the time at which they arrive.
type Chunk = (Instant, Vec<u8>);

/// Starts a proxy for a server. It runs until the process ends. Returns its address.
pub(crate) fn start(server: SocketAddrV4, link: Link) -> anyhow::Result<SocketAddrV4> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let SocketAddr::V4(address) = listener.local_addr()? else { bail!("no IPv4 address") };

    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A connection that fails here is closed, which its client reports.
            let _ = TcpStream::connect(server).and_then(|server| {
                forward(client.try_clone()?, server.try_clone()?, link);
                forward(server, client, link);
                Ok(())
            });
        }
    });

    Ok(address)
}

/// Copies one direction until its end.
fn forward(from: TcpStream, to: TcpStream, link: Link) {
    let (chunks_tx, chunks) = sync_channel(CHUNKS);
    thread::spawn(move || receive(from, &chunks_tx, link));
    thread::spawn(move || deliver(to, &chunks));
}

fn receive(mut from: TcpStream, chunks: &SyncSender<Chunk>, link: Link) {
    let mut buffer = [0; CHUNK_BYTES];
    let mut free_at = Instant::now();
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let seconds = as_float(count as u64) / f64::from(link.bytes_per_second);
        free_at = free_at.max(Instant::now()) + Duration::from_secs_f64(seconds);
        if chunks.send((free_at + link.delay, buffer[..count].to_vec())).is_err() {
            return;
        }

        // The next bytes are read once these are on the link, so the sender's buffers fill up.
        clock::pause(free_at.saturating_duration_since(Instant::now()));
    }
}

fn deliver(mut to: TcpStream, chunks: &Receiver<Chunk>) {
    for (at, bytes) in chunks {
        clock::pause(at.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
