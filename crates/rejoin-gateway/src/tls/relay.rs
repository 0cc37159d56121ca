//! One TLS connection: what passes between it and a socket pair.
//!
//! The rest of the server speaks to the pair's near end as to any other socket. What is not
//! taken by one side is not read from the other: the pair's buffers are all there is between.

use std::{future::poll_fn, io, pin::Pin, task::Poll, time::Duration};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWriteExt, Interest, ReadBuf, ReadHalf, WriteHalf},
    net::{TcpStream, UnixStream, unix},
    time::{sleep, timeout},
};
use tokio_rustls::server::TlsStream;
use tracing::debug;

/// One read takes at most so many bytes, each way.
const CHUNK_BYTES: usize = 8 * 1024;
/// What the pair holds each way; the kernel doubles it for its own needs.
const PAIR_BYTES: usize = 64 * 1024;
/// What the kernel may hold unsent for the peer.
const UNSENT_BYTES: u32 = 128 * 1024;
/// How long a peer may take for the last bytes, and to say goodbye itself.
const LINGER: Duration = Duration::from_secs(5);
/// How often it is looked whether the near end has gone while the peer takes nothing.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

type Tls = TlsStream<TcpStream>;

/// The near end of a pair, and the task that passes on between its far end and the peer.
///
/// The task ends when the peer has gone, or soon after the near end has.
pub(crate) fn relay(tls: Tls) -> io::Result<(UnixStream, impl Future<Output = ()> + Send)> {
    let (near, far) = UnixStream::pair()?;
    for end in [&near, &far] {
        SockRef::from(end).set_send_buffer_size(PAIR_BYTES)?;
    }
    SockRef::from(tls.get_ref().0).set_tcp_notsent_lowat(UNSENT_BYTES)?;
    Ok((near, run(tls, far)))
}

async fn run(tls: Tls, far: UnixStream) {
    let (from_peer, mut to_peer) = tokio::io::split(tls);
    let (mut from_near, to_near) = far.into_split();
    let up = async {
        if let Err(error) = up(from_peer, to_near).await {
            debug!(%error, "a TLS connection broke off");
        }
    };
    let down = async {
        if let Err(error) = down(&mut from_near, &mut to_peer).await {
            debug!(%error, "a TLS connection takes no more");
        }
    };
    tokio::pin!(up, down);
    // A peer that has ended may still read; one that is told goodbye has little left to say.
    tokio::select! {
        () = &mut up => down.await,
        () = &mut down => { let _ = timeout(LINGER, up).await; }
    }
}

/// From the peer to the near end, until either has no more; dropping `to` tells the near end.
async fn up(mut from: ReadHalf<Tls>, mut to: unix::OwnedWriteHalf) -> io::Result<()> {
    loop {
        let bytes = read(&mut from).await?;
        if bytes.is_empty() {
            return Ok(());
        }
        to.write_all(&bytes).await?;
    }
}

/// From the near end to the peer, with a `close_notify` at the end.
async fn down(from: &mut unix::OwnedReadHalf, to: &mut WriteHalf<Tls>) -> io::Result<()> {
    loop {
        let bytes = read(from).await?;
        if bytes.is_empty() {
            return timeout(LINGER, to.shutdown()).await?;
        }
        let written = async {
            to.write_all(&bytes).await?;
            to.flush().await
        };
        tokio::select! {
            written = written => written?,
            () = given_up(from) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Completes when the near end has been silent for long enough for its last bytes to be taken.
async fn given_up(near: &unix::OwnedReadHalf) {
    while !near.ready(Interest::READABLE).await.is_ok_and(|ready| ready.is_read_closed()) {
        sleep(LOOK_INTERVAL).await;
    }
    sleep(LINGER).await;
}

/// Reads what has arrived; empty at the end. Holds no buffer while nothing arrives.
async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    poll_fn(|cx| {
        let mut bytes = vec![0; CHUNK_BYTES];
        let mut buffer = ReadBuf::new(&mut bytes);
        match Pin::new(&mut *from).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) => {
                let length = buffer.filled().len();
                bytes.truncate(length);
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
