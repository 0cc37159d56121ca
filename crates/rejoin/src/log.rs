//! The log: lines on standard error, and spans to a collector where that is built in.

#[cfg(feature = "otlp")]
mod otlp;

use std::{
    io::{self, BufWriter, IsTerminal, Stderr, Write},
    thread,
    time::Duration,
};

use anyhow::Context;
use rejoin_core::Metrics;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::{
    command::variable,
    config::{Format, Log},
};

/// Lines that may wait for standard error; further ones are lost and counted. About 2 MB.
const MAX_WAITING_LINES: usize = 8 * 1024;
/// How long lines are gathered for one write.
const GATHER: Duration = Duration::from_millis(5);

/// The log of the process. Writes what waits when it is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Logging {
    lost: ErrorCounter,
    _lines: WorkerGuard,
    #[cfg(feature = "otlp")]
    spans: Option<otlp::Spans>,
}

/// Standard error, written by a thread of its own.
///
/// A thread that logs never waits for it. The thread gathers lines before it waits for the next
/// one, so that a line seldom has to wake it, and many go out in one write.
struct Lines(BufWriter<Stderr>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()?;
        // A wake-up that comes early makes a write more.
        thread::park_timeout(GATHER);
        Ok(())
    }
}

fn lines() -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default()
        .buffered_lines_limit(MAX_WAITING_LINES)
        .lossy(true)
        .thread_name("rejoin-log")
        .finish(Lines(BufWriter::new(io::stderr())))
}

impl Logging {
    /// Begins to log. Called once, outside of a runtime.
    ///
    /// # Errors
    /// When `REJOIN_LOG` is no filter, or spans cannot be exported.
    pub(crate) fn start(log: &Log) -> anyhow::Result<Self> {
        let filter = variable("REJOIN_LOG").unwrap_or_else(|| log.level.clone());
        let filter = EnvFilter::try_new(filter).context(
            "REJOIN_LOG: write a level, such as `debug`, or `rejoin_gateway=debug,info`",
        )?;
        let (writer, guard) = lines();
        let lost = writer.error_counter();
        let lines = fmt::layer().with_writer(writer);
        let lines: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
            Format::Text => Box::new(lines.with_ansi(io::stderr().is_terminal())),
            Format::Json => Box::new(lines.json().flatten_event(true).with_current_span(false)),
        };
        #[cfg(feature = "otlp")]
        if let Some(endpoint) = &log.otlp_endpoint {
            let (spans, layer) = otlp::start(endpoint)?;
            tracing_subscriber::registry().with(lines.with_filter(filter)).with(layer).init();
            return Ok(Self { lost, _lines: guard, spans: Some(spans) });
        }
        // Without a second reader the filter is everyone's, which is the cheapest.
        tracing_subscriber::registry().with(lines).with(filter).init();
        Ok(Self {
            lost,
            _lines: guard,
            #[cfg(feature = "otlp")]
            spans: None,
        })
    }

    /// Shows in the metrics how many lines were lost.
    pub(crate) fn count_in(&self, metrics: &Metrics) {
        let lost = self.lost.clone();
        let help = "Log lines lost because standard error was not read";
        let count = move || u64::try_from(lost.dropped_lines()).unwrap_or(u64::MAX);
        metrics.observe_counter("log_lines_dropped", help, count);
    }

    /// Sends what is left. Called outside of a runtime.
    pub(crate) fn finish(self) {
        #[cfg(feature = "otlp")]
        if let Some(spans) = self.spans {
            spans.finish();
        }
    }
}
