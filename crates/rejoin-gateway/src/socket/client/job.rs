//! Jobs: messages that take time, executed on the general runtime.
//!
//! A connection has at most one job, and its next message waits for the job to end. Closing the
//! connection aborts the job.

use std::{fmt, pin::Pin, sync::Arc};

use rejoin_auth::TokenError;
use rejoin_core::{Attachment, Identity, Outbox, Shutdown};
use rejoin_protocol::{ErrorCode, MessageId, message::AuthenticatePayload};
use tokio::task::AbortHandle;
use tracing::Instrument;

use crate::socket::client::{Client, Flow};

/// The work of a job.
pub(super) type Job = Pin<Box<dyn Future<Output = JobResult> + Send>>;

/// The receiver of job results: the shard of the connection.
pub(crate) trait JobListener: fmt::Debug + Send + Sync {
    /// Receives the result of a job. `outbox` identifies the job's connection. Must not block.
    fn job_ended(&self, outbox: &Arc<Outbox>, result: JobResult);
}

/// The result of a job.
pub(crate) enum JobResult {
    /// The message was handled and answered.
    Handled,
    /// The connection is attached to a session.
    Attached(Attachment),
    /// The token of `authenticate` was verified or refused.
    Authenticated {
        reply_to: Option<MessageId>,
        message: AuthenticatePayload,
        result: Result<Identity, TokenError>,
    },
    /// The token of `refresh` was verified or refused.
    Refreshed { reply_to: Option<MessageId>, result: Result<Identity, TokenError> },
    /// The job panicked. The message is answered with an error.
    Panicked { reply_to: Option<MessageId> },
}

/// The current job of one connection. Dropping it aborts the job.
#[derive(Debug)]
pub(crate) struct Jobs {
    listener: Arc<dyn JobListener>,
    current: Option<AbortHandle>,
}

/// Reports the end of a job when dropped: after a return, a panic or an abort.
///
/// Without the report, the connection would wait for its job forever.
struct Report {
    listener: Arc<dyn JobListener>,
    outbox: Arc<Outbox>,
    result: Option<JobResult>,
    reply_to: Option<MessageId>,
}

impl Jobs {
    pub(crate) fn new(listener: Arc<dyn JobListener>) -> Self {
        Self { listener, current: None }
    }

    /// Returns `true` if a job is running.
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
        // Created before the task starts, so that even an abort before the first poll is reported.
        let report = Report {
            listener: Arc::clone(&self.listener),
            outbox: Arc::clone(outbox),
            result: None,
            reply_to: reply_to.cloned(),
        };

        let task = shutdown.spawn(async move { report.finish(job.await) });
        self.current = Some(task.abort_handle());
    }

    /// Records that the job has ended.
    pub(super) fn finish(&mut self) {
        self.current = None;
    }
}

impl Report {
    fn finish(mut self, result: JobResult) {
        self.result = Some(result);
    }
}

impl Client {
    /// Starts a job. No other message is executed until it ends.
    pub(super) fn start_job(&mut self, reply_to: Option<&MessageId>, job: Job) {
        let job = Box::pin(job.instrument(self.span.clone()));
        self.jobs.start(&self.shared.shutdown, &self.outbox, reply_to, job);
    }

    /// Acts on the result of the job.
    pub(crate) fn finish_job(&mut self, result: JobResult) -> Flow {
        self.jobs.finish();
        match result {
            JobResult::Handled => Flow::Continue,
            JobResult::Attached(attachment) => {
                self.attachments.push(attachment);
                Flow::Continue
            }
            JobResult::Authenticated { reply_to, message, result } => {
                self.authenticated(reply_to.as_ref(), message, result)
            }
            JobResult::Refreshed { reply_to, result } => self.refreshed(reply_to.as_ref(), result),
            JobResult::Panicked { reply_to } => {
                self.send_error(reply_to.as_ref(), ErrorCode::Internal.into())
            }
        }
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
        // Without a result, the job panicked, or was aborted together with its connection. The
        // shard drops reports for connections that are gone.
        let reply_to = self.reply_to.take();
        let result = self.result.take().unwrap_or(JobResult::Panicked { reply_to });
        self.listener.job_ended(&self.outbox, result);
    }
}

impl fmt::Debug for JobResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handled => "Handled",
            Self::Attached(_) => "Attached",
            Self::Authenticated { .. } => "Authenticated",
            Self::Refreshed { .. } => "Refreshed",
            Self::Panicked { .. } => "Panicked",
        })
    }
}
