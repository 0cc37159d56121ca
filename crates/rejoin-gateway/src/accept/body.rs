//! The body of a request, with a deadline.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use rejoin_core::Shutdown;
use tokio::time::{Sleep, sleep};

/// A body that fails after a timeout or when a stop begins.
///
/// hyper only times out the head of a request.
pub(super) struct TimedBody {
    body: Incoming,
    /// `None` if the request has no body.
    limits: Option<Limits>,
}

struct Limits {
    deadline: Pin<Box<Sleep>>,
    /// Completes when a stop begins.
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// The error for a body that is still incomplete when a stop begins.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the server is stopping; try again after its restart")]
pub(crate) struct Stopping;

impl TimedBody {
    pub(super) fn new(body: Incoming, timeout: Duration, shutdown: &Shutdown) -> Self {
        let limits = (!body.is_end_stream()).then(|| {
            let shutdown = shutdown.clone();
            let stop = Box::pin(async move { shutdown.begun().await });
            Limits { deadline: Box::pin(sleep(timeout)), stop }
        });

        Self { body, limits }
    }
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        // Polled before the body: a client that sends one byte at a time always has a frame ready.
        if let Some(Limits { deadline, .. }) = &mut self.limits
            && deadline.as_mut().poll(cx).is_ready()
        {
            let error = io::Error::new(io::ErrorKind::TimedOut, "the body did not arrive in time");
            return Poll::Ready(Some(Err(error.into())));
        }

        let frame = Pin::new(&mut self.body).poll_frame(cx).map_err(Into::into);

        // Polled after the body: a request that has fully arrived is served.
        if frame.is_pending()
            && let Some(Limits { stop, .. }) = &mut self.limits
            && stop.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Some(Err(Stopping.into())));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Debug for TimedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimedBody").field("body", &self.body).finish_non_exhaustive()
    }
}
