//! A socket on the general runtime, plain or with TLS, that hyper reads and writes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use crate::transport::Transport;

/// A plain or TLS socket. Its reads start with the bytes that a shard already read from it.
#[derive(Debug)]
pub(super) struct HttpSocket {
    first_bytes: Bytes,
    stream: Stream,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    // Boxed, because a TLS session is much larger than a socket.
    Tls(Box<TlsStream<TcpStream>>),
}

impl HttpSocket {
    /// Registers a non-blocking socket with the current runtime.
    ///
    /// # Errors
    /// If the runtime cannot register the socket.
    pub(super) fn plain(socket: std::net::TcpStream, first_bytes: Bytes) -> io::Result<Self> {
        Ok(Self { first_bytes, stream: Stream::Plain(TcpStream::from_std(socket)?) })
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>) -> Self {
        Self { first_bytes: Bytes::new(), stream: Stream::Tls(Box::new(stream)) }
    }

    /// Deregisters the socket from the runtime, so that a shard can own it.
    ///
    /// # Errors
    /// If the runtime cannot deregister the socket.
    pub(super) fn into_transport(self) -> io::Result<Transport> {
        // The bytes that a shard read from a plain socket were the request, so hyper has consumed
        // all of them.
        match self.stream {
            Stream::Plain(socket) => Ok(Transport::Plain(deregister(socket)?)),
            Stream::Tls(stream) => {
                let (socket, session) = stream.into_inner();
                Ok(Transport::tls(deregister(socket)?, session))
            }
        }
    }
}

/// Deregisters a socket from the runtime. The socket stays non-blocking.
fn deregister(socket: TcpStream) -> io::Result<mio::net::TcpStream> {
    Ok(mio::net::TcpStream::from_std(socket.into_std()?))
}

impl AsyncRead for HttpSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // The shard read these bytes to find out that the request is for the HTTP server.
        if this.first_bytes.has_remaining() {
            let count = buffer.remaining().min(this.first_bytes.len());
            buffer.put_slice(&this.first_bytes.split_to(count));
            return Poll::Ready(Ok(()));
        }

        match &mut this.stream {
            Stream::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for HttpSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, parts),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
