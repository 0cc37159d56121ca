//! A connected byte stream, whatever its transport.

use std::{
    io,
    mem::MaybeUninit,
    net::Shutdown,
    os::fd::{AsRawFd, RawFd},
    pin::Pin,
    task::{Context, Poll},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream, tcp, unix},
};

/// A stream socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    /// The near end of a pair; at its far end a task speaks the real transport.
    Unix(UnixStream),
}

/// The side of a socket that is read.
#[derive(Debug)]
pub(crate) enum ReadHalf {
    Tcp(tcp::OwnedReadHalf),
    Unix(unix::OwnedReadHalf),
}

/// The side of a socket that is written; dropping it shuts that side down.
#[derive(Debug)]
pub(crate) enum WriteHalf {
    Tcp(tcp::OwnedWriteHalf),
    Unix(unix::OwnedWriteHalf),
}

impl Socket {
    /// Its two sides.
    pub(crate) fn into_split(self) -> (ReadHalf, WriteHalf) {
        match self {
            Self::Tcp(socket) => {
                let (read, write) = socket.into_split();
                (ReadHalf::Tcp(read), WriteHalf::Tcp(write))
            }
            Self::Unix(socket) => {
                let (read, write) = socket.into_split();
                (ReadHalf::Unix(read), WriteHalf::Unix(write))
            }
        }
    }

    /// Limits what the kernel holds that was not sent yet.
    ///
    /// A pair is limited by whoever made it.
    pub(crate) fn limit_unsent(&self, bytes: u32) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => SockRef::from(socket).set_tcp_notsent_lowat(bytes),
            Self::Unix(_) => Ok(()),
        }
    }
}

impl From<TcpStream> for Socket {
    fn from(socket: TcpStream) -> Self {
        Self::Tcp(socket)
    }
}

impl From<UnixStream> for Socket {
    fn from(socket: UnixStream) -> Self {
        Self::Unix(socket)
    }
}

impl WriteHalf {
    /// Sends what the socket takes at once.
    ///
    /// It goes straight to the socket: tokio's look at its readiness is a cache miss for each of
    /// many sockets. Tokio hears of the rare one that would block, so that it waits for it.
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.raw().send(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => match self {
                Self::Tcp(half) => half.try_write(bytes),
                Self::Unix(half) => half.try_write(bytes),
            },
            sent => sent,
        }
    }

    /// Whether the peer has sent something that nobody has read.
    pub(crate) fn has_unread(&self) -> bool {
        self.raw().peek(&mut [MaybeUninit::uninit()]).is_ok_and(|count| count > 0)
    }

    /// Waits until it may take more. Cancel safe: yes.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(half) => half.writable().await,
            Self::Unix(half) => half.writable().await,
        }
    }

    /// Shuts a side of the whole socket down; it fails if the peer was faster.
    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.raw().shutdown(how)
    }

    /// What the kernel knows it by.
    pub(crate) fn number(&self) -> RawFd {
        self.raw().as_raw_fd()
    }

    fn raw(&self) -> SockRef<'_> {
        match self {
            Self::Tcp(half) => SockRef::from(half.as_ref()),
            Self::Unix(half) => SockRef::from(half.as_ref()),
        }
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_read(cx, buffer),
            Self::Unix(half) => Pin::new(half).poll_read(cx, buffer),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Unix(socket) => Pin::new(socket).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Unix(socket) => Pin::new(socket).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, parts),
            Self::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn each_transport_carries_bytes_both_ways_to_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        carries(listener.accept().await.unwrap().0.into(), far).await;
        let (near, far) = UnixStream::pair().unwrap();
        carries(near.into(), far).await;
    }

    async fn carries(near: Socket, mut far: impl AsyncRead + AsyncWrite + Unpin) {
        near.limit_unsent(128 * 1024).unwrap();
        let (mut read, write) = near.into_split();
        far.write_all(b"up").await.unwrap();
        let mut bytes = [0; 2];
        read.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"up");
        assert!(!write.has_unread());
        far.write_all(b"more").await.unwrap();
        assert!(write.has_unread());
        read.read_exact(&mut [0; 4]).await.unwrap();
        let mut sent = 0;
        let full = loop {
            match write.send(&[7; 4096]) {
                Ok(count) => sent += count,
                Err(error) => break error.kind(),
            }
        };
        assert_eq!(full, io::ErrorKind::WouldBlock);
        assert!(write.writable().now_or_never().is_none(), "it knows that it has to wait");
        let mut taken = vec![0; sent];
        far.read_exact(&mut taken).await.unwrap();
        write.writable().await.unwrap();
        assert!(write.send(b"down").unwrap() > 0);
        write.shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        far.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"down");
    }

    #[test]
    fn a_half_is_larger_than_a_half_of_one_transport_by_a_word_at_most() {
        assert!(size_of::<WriteHalf>() <= size_of::<tcp::OwnedWriteHalf>() + size_of::<usize>());
        assert!(size_of::<ReadHalf>() <= size_of::<tcp::OwnedReadHalf>() + size_of::<usize>());
    }
}
