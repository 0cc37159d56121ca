//! Spans of connections and sessions, to an OpenTelemetry collector (OTLP over HTTP).

use anyhow::Context;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

/// What ends with the process.
#[derive(Debug)]
pub(super) struct Spans(SdkTracerProvider);

/// Begins to export; the exporter's thread waits for the network, and nobody for it.
pub(super) fn start<S>(
    endpoint: &str,
) -> anyhow::Result<(Spans, impl Layer<S> + Send + Sync + use<S>)>
where
    S: Subscriber + Send + Sync + for<'span> LookupSpan<'span>,
{
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{endpoint}/v1/traces"))
        .build()
        .context("log.otlp_endpoint: spans cannot be exported")?;
    let version = opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_service_name("rejoin").with_attribute(version).build();
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("rejoin"))
        .with_location(false)
        // Which of tokio's threads it was says nothing, and a clock for each poll costs.
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(is_ours));
    Ok((Spans(provider), layer))
}

impl Spans {
    /// Sends the spans that have ended.
    pub(super) fn finish(self) {
        if let Err(error) = self.0.shutdown() {
            tracing::warn!(%error, "the last spans did not reach the collector");
        }
    }
}

/// Our spans, whatever the level of the log, and what happened in them.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    let is_told = metadata.is_span() || *metadata.level() <= tracing::Level::INFO;
    is_told && metadata.target().starts_with("rejoin")
}
