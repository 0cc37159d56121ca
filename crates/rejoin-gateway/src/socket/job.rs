//! Work that a message starts and that takes time, on the general runtime.
//!
//! A connection has one job at most: its next message is handled after it. Closing the
//! connection aborts the job.

use std::{fmt, pin::Pin, sync::Arc};

use rejoin_core::{Attachment, Identity, Outbox, Shutdown};
use rejoin_protocol::{MessageId, message::AuthenticatePayload};
use tokio::task::AbortHandle;

use crate::{shard::ShardHandle, token::TokenError};

/// The work, and what its connection does at its end.
pub(super) type Job = Pin<Box<dyn Future<Output = Done> + Send>>;

/// The end of a job.
pub(crate) enum Done {
    /// All is done.
    Handled,
    /// The connection is attached to a session.
    Attached(Attachment),
    /// The token of `authenticate` was verified, or refused.
    Authenticated {
        reply_to: Option<MessageId>,
        message: AuthenticatePayload,
        result: Result<Identity, TokenError>,
    },
    /// The token of `refresh` was verified, or refused.
    Refreshed { reply_to: Option<MessageId>, result: Result<Identity, TokenError> },
    /// The job panicked; the message gets an error.
    Failed { reply_to: Option<MessageId> },
}

/// The jobs of one connection.
#[derive(Debug)]
pub(crate) struct Jobs {
    shard: ShardHandle,
    current: Option<AbortHandle>,
}

/// Reports the end of a job to the shard, whatever way it ends.
struct Report {
    shard: ShardHandle,
    outbox: Arc<Outbox>,
    done: Option<Done>,
    reply_to: Option<MessageId>,
}

impl Jobs {
    pub(crate) fn new(shard: ShardHandle) -> Self {
        Self { shard, current: None }
    }

    /// Whether one runs.
    pub(super) fn is_busy(&self) -> bool {
        self.current.is_some()
    }

    pub(super) fn start(
        &mut self,
        shutdown: &Shutdown,
        outbox: &Arc<Outbox>,
        reply_to: Option<&MessageId>,
        job: Job,
    ) {
        let report = Report {
            shard: self.shard.clone(),
            outbox: Arc::clone(outbox),
            done: None,
            reply_to: reply_to.cloned(),
        };
        let task = shutdown.spawn(async move { report.finish(job.await) });
        self.current = Some(task.abort_handle());
    }

    /// The current one has ended.
    pub(super) fn finish(&mut self) {
        self.current = None;
    }
}

impl Report {
    fn finish(mut self, done: Done) {
        self.done = Some(done);
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        if let Some(current) = &self.current {
            current.abort();
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        let reply_to = self.reply_to.take();
        let done = self.done.take().unwrap_or(Done::Failed { reply_to });
        self.shard.report(&self.outbox, done);
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handled => "Handled",
            Self::Attached(_) => "Attached",
            Self::Authenticated { .. } => "Authenticated",
            Self::Refreshed { .. } => "Refreshed",
            Self::Failed { .. } => "Failed",
        })
    }
}
