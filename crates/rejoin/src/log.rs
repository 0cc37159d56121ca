//! The log: lines on standard error, and spans to a collector where that is built in.

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
    command::variable,
    config::{Format, Log},
    log::{fields::QuotedFields, writer::Writer},
};

#[cfg(test)]
pub(crate) use writer::PATIENCE as LOG_DEADLINE;

/// The log of the process.
#[derive(Debug)]
#[must_use]
pub(crate) struct Logging {
    writer: Writer,
    #[cfg(feature = "otlp")]
    spans: Option<otlp::Spans>,
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
        let writer = Writer::start(io::stderr()).context("cannot start the log's thread")?;
        let lines = fmt::layer().with_writer(writer.sink());
        let lines: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
            Format::Text => {
                Box::new(lines.with_ansi(io::stderr().is_terminal()).fmt_fields(QuotedFields))
            }
            Format::Json => Box::new(lines.json().flatten_event(true).with_current_span(false)),
        };
        #[cfg(feature = "otlp")]
        if let Some(endpoint) = &log.otlp_endpoint {
            let (spans, layer) = otlp::start(endpoint)?;
            tracing_subscriber::registry().with(lines.with_filter(filter)).with(layer).init();
            return Ok(Self { writer, spans: Some(spans) });
        }
        // Without a second reader the filter is everyone's, which is the cheapest.
        tracing_subscriber::registry().with(lines).with(filter).init();
        Ok(Self {
            writer,
            #[cfg(feature = "otlp")]
            spans: None,
        })
    }

    /// Shows in the metrics how many lines were lost.
    pub(crate) fn count_in(&self, metrics: &Metrics) {
        let writer = self.writer.clone();
        let help = "Log lines lost because standard error was not read";
        metrics.observe_counter("log_lines_dropped", help, move || writer.lost());
    }

    /// Writes what is left, and at last the line with which the process fails. Waits for a
    /// standard error that takes nothing for a second at most. Called outside of a runtime.
    pub(crate) fn finish(self, complaint: Option<&str>) {
        #[cfg(feature = "otlp")]
        if let Some(spans) = self.spans {
            spans.finish();
        }
        if let Some(complaint) = complaint {
            self.writer.push(&format!("rejoin: {complaint}\n"));
        }
        self.writer.flush();
    }
}
