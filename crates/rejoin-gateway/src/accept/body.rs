//! A request's body that must arrive in time.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

/// How long a client may take to send the body of a request.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A body with a deadline; hyper has one for a request's head only.
#[derive(Debug)]
pub(super) struct TimedBody {
    body: Incoming,
    /// There if the request has a body.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl TimedBody {
    pub(super) fn new(body: Incoming) -> Self {
        let deadline = (!body.is_end_stream()).then(|| Box::pin(sleep(BODY_TIMEOUT)));
        Self { body, deadline }
    }
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        // First, because a peer that trickles always has something to say.
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            let error = io::Error::new(io::ErrorKind::TimedOut, "the body took too long");
            return Poll::Ready(Some(Err(error.into())));
        }
        Pin::new(&mut self.body).poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing::post};
    use rejoin_core::Shutdown;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        time::Instant,
    };

    use super::*;
    use crate::{
        accept::{self, Accept},
        gateway::GatewayConfig,
        token::Signer,
    };

    #[tokio::test(start_paused = true)]
    async fn who_trickles_a_body_is_let_go() {
        let router = Router::new().route("/", post(async |body: Bytes| body));
        let config = GatewayConfig::new(Signer::hs256(&[1; 32]).unwrap().verifier());
        let shutdown = Shutdown::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        shutdown.spawn(accept::run(listener, Accept::new(&config, router, &shutdown)));

        let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n";
        socket.write_all(head).await.unwrap();
        let begun = Instant::now();
        let (mut read, mut write) = socket.split();
        let trickle = async {
            while write.write_all(b"x").await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        };
        let mut answer = Vec::new();
        tokio::select! {
            _ = read.read_to_end(&mut answer) => {}
            () = trickle => {}
        }
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"));
        assert!(begun.elapsed() >= BODY_TIMEOUT, "it had time");
        assert!(begun.elapsed() < BODY_TIMEOUT * 2);
    }
}
