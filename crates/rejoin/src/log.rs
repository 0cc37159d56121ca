//! The log: lines on standard error, and spans to a collector if that is built in.

mod fields;
#[cfg(feature = "otlp")]
mod otlp;
mod writer;

use std::io::{self, IsTerminal};

use anyhow::Context;
use rejoin_core::Metrics;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::{
    config::{LogConfig, LogFormat},
    environment::variable,
    log::{fields::QuotedFields, writer::Writer},
};

#[cfg(test)]
pub(crate) use writer::FLUSH_TIMEOUT;

/// The log of the process.
#[derive(Debug)]
#[must_use]
pub(crate) struct Logging {
    writer: Writer,
    #[cfg(feature = "otlp")]
    spans: Option<otlp::SpanPipeline>,
}

impl Logging {
    /// Starts the log. Must be called once, outside of a runtime.
    ///
    /// # Errors
    /// If `REJOIN_LOG` is not a filter, or spans cannot be exported.
    pub(crate) fn start(config: &LogConfig) -> anyhow::Result<Self> {
        let filter = variable("REJOIN_LOG").unwrap_or_else(|| config.level.clone());
        let filter = EnvFilter::try_new(filter).context(
            "REJOIN_LOG is not a log level; write for example `debug` or \
             `rejoin_gateway=debug,info`",
        )?;
        let writer = Writer::start(io::stderr()).context("cannot start the thread of the log")?;

        let lines = fmt::layer().with_writer(writer.sink());
        let lines: Box<dyn Layer<Registry> + Send + Sync> = match config.format {
            LogFormat::Text => {
                Box::new(lines.with_ansi(io::stderr().is_terminal()).fmt_fields(QuotedFields))
            }
            LogFormat::Json => Box::new(lines.json().flatten_event(true).with_current_span(false)),
        };

        #[cfg(feature = "otlp")]
        if let Some(endpoint) = &config.otlp_endpoint {
            let (spans, layer) = otlp::start(endpoint)?;
            // The filter is for the lines only: spans are exported at any log level.
            tracing_subscriber::registry().with(lines.with_filter(filter)).with(layer).init();
            return Ok(Self { writer, spans: Some(spans) });
        }
        // A global filter, not one per layer: disabled events cost the least.
        tracing_subscriber::registry().with(lines).with(filter).init();
        Ok(Self {
            writer,
            #[cfg(feature = "otlp")]
            spans: None,
        })
    }

    /// Registers the counter of lost lines.
    pub(crate) fn register_metrics(&self, metrics: &Metrics) {
        let writer = self.writer.clone();
        let help = "Log lines dropped because standard error was not read";
        metrics.observe_counter("log_lines_dropped", help, move || writer.lost());
    }

    /// Writes the queued lines, and last the error with which the process ends.
    ///
    /// Waits at most one second for a standard error that accepts no bytes. Must be called outside
    /// of a runtime.
    pub(crate) fn finish(self, error: Option<&str>) {
        // Before the flush: a failed export logs a warning.
        #[cfg(feature = "otlp")]
        if let Some(spans) = self.spans {
            spans.finish();
        }
        if let Some(error) = error {
            self.writer.push(&format!("rejoin: {error}\n"));
        }
        self.writer.flush();
    }
}
