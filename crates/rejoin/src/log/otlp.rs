//! The export of connection and session spans to a collector (OTLP over HTTP).

use anyhow::Context;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

/// The exporter of spans. [`Self::finish`] sends the spans that are still queued.
#[derive(Debug)]
pub(super) struct SpanPipeline(SdkTracerProvider);

/// Starts the export. Only the exporter's own thread waits for the network.
pub(super) fn start<S>(
    endpoint: &str,
) -> anyhow::Result<(SpanPipeline, impl Layer<S> + Send + Sync + use<S>)>
where
    S: Subscriber + Send + Sync + for<'span> LookupSpan<'span>,
{
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{endpoint}/v1/traces"))
        .build()
        .context("log.otlp_endpoint: cannot export spans")?;

    let version = opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_service_name("rejoin").with_attribute(version).build();
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();

    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("rejoin"))
        .with_location(false)
        // The worker thread of a span is arbitrary, and reading the clock at each poll is costly.
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(is_exported));
    Ok((SpanPipeline(provider), layer))
}

impl SpanPipeline {
    /// Sends the queued spans. Spans that have not ended are lost.
    pub(super) fn finish(self) {
        if let Err(error) = self.0.shutdown() {
            tracing::warn!(%error, "the last spans could not be exported");
        }
    }
}

/// Returns `true` for the spans of this program at any level, and for their events up to `INFO`.
fn is_exported(metadata: &Metadata<'_>) -> bool {
    let is_important = metadata.is_span() || *metadata.level() <= tracing::Level::INFO;
    is_important && metadata.target().starts_with("rejoin")
}
