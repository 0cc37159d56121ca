//! The log: lines on standard error, and spans to a collector where that is built in.

#[cfg(feature = "otlp")]
mod otlp;

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::{
    command::variable,
    config::{Format, Log},
};

/// What must be told before the process ends.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Logging {
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
        let lines = fmt::layer().with_writer(std::io::stderr);
        let lines: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
            Format::Text => Box::new(lines.with_ansi(std::io::stderr().is_terminal())),
            Format::Json => Box::new(lines.json().flatten_event(true).with_current_span(false)),
        };
        #[cfg(feature = "otlp")]
        if let Some(endpoint) = &log.otlp_endpoint {
            let (spans, layer) = otlp::start(endpoint)?;
            tracing_subscriber::registry().with(lines.with_filter(filter)).with(layer).init();
            return Ok(Self { spans: Some(spans) });
        }
        // Without a second reader the filter is everyone's, which is the cheapest.
        tracing_subscriber::registry().with(lines).with(filter).init();
        Ok(Self::default())
    }

    /// Sends what is left. Called outside of a runtime.
    pub(crate) fn finish(self) {
        #[cfg(feature = "otlp")]
        if let Some(spans) = self.spans {
            spans.finish();
        }
    }
}
