//! A request's body that must arrive in time, and before the server stops.

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

/// A body with a deadline; hyper has one for a request's head only.
pub(super) struct TimedBody {
    body: Incoming,
    /// There if the request has a body.
    limits: Option<Limits>,
}

struct Limits {
    deadline: Pin<Box<Sleep>>,
    /// Completes when the server stops.
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// The server stops, and the body is incomplete.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the server is stopping; try again with the next one")]
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
        // First, because a peer that trickles always has something to say.
        if let Some(Limits { deadline, .. }) = &mut self.limits
            && deadline.as_mut().poll(cx).is_ready()
        {
            let error = io::Error::new(io::ErrorKind::TimedOut, "the body took too long");
            return Poll::Ready(Some(Err(error.into())));
        }
        let frame = Pin::new(&mut self.body).poll_frame(cx).map_err(Into::into);
        // Last, because a body that has arrived completely is served.
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
