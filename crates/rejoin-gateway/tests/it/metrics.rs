//! The names and the text of the metrics.

use std::collections::BTreeSet;

use rejoin_gateway::{GatewayMetrics, WebhookMetrics};

use crate::support::TestServer;

/// Returns the text after each labelled metric was used: an unused label has no sample.
async fn text() -> String {
    let server = TestServer::start().await;
    let metrics = server.hub.metrics();
    metrics.rate_limited("messages");
    metrics.sessions.get_or_create(&[("kind", "terminal"), ("status", "idle")]).inc();
    metrics.connections.set(3);
    metrics.connections_total.inc_by(7);

    let gateway = metrics.group::<GatewayMetrics>();
    gateway.refused.get_or_create(&[("reason", "connections")]).inc();
    gateway.closed.get_or_create(&[("code", 4000)]).inc();
    gateway.frames_dropped.get_or_create(&[("reason", "retention")]).inc_by(2);
    gateway.auth_failures.get_or_create(&[("reason", "expired")]).inc();
    gateway.http_requests.get_or_create(&[("status", 200)]).inc();
    // The group that the first webhook registers.
    let webhooks = metrics.group::<WebhookMetrics>();
    webhooks.outcomes.get_or_create(&[("outcome", "delivered")]).inc();
    metrics.text()
}

/// Returns the name and the type of each metric.
fn types(text: &str) -> Vec<(&str, &str)> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    lines.map(|line| line.split_once(' ').unwrap()).collect()
}

/// Returns the names of all possible samples.
fn samples(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (name, kind) in types(text) {
        match kind {
            "histogram" => {
                names.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}")));
            }
            "counter" => {
                names.insert(format!("{name}_total"));
            }
            _ => {
                names.insert(name.to_owned());
            }
        }
    }

    names
}

#[tokio::test]
async fn the_documented_metrics_exist() {
    let text = text().await;
    for expected in [
        ("rejoin_connections", "gauge"),
        ("rejoin_connections_opened", "counter"),
        ("rejoin_messages_sent", "counter"),
        ("rejoin_frames_dropped", "counter"),
        ("rejoin_broadcast_seconds", "histogram"),
        ("rejoin_sessions", "gauge"),
        ("rejoin_auth_failures", "counter"),
        ("rejoin_rate_limited", "counter"),
    ] {
        assert!(types(&text).contains(&expected), "{expected:?} in {text}");
    }
}

#[tokio::test]
async fn each_metric_has_one_name_and_type() {
    let text = text().await;
    let names: Vec<_> = types(&text).into_iter().map(|(name, _)| name).collect();
    let different: BTreeSet<_> = names.iter().collect();
    assert_eq!(different.len(), names.len(), "{text}");
    assert!(names.iter().all(|name| name.starts_with("rejoin_")), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[tokio::test]
async fn counts_are_written_with_their_labels() {
    let text = text().await;
    for expected in [
        "rejoin_connections 3",
        "rejoin_connections_opened_total 7",
        "rejoin_frames_dropped_total{reason=\"retention\"} 2",
        "rejoin_auth_failures_total{reason=\"expired\"} 1",
        "rejoin_rate_limited_total{what=\"messages\"} 1",
        "rejoin_webhooks_total{outcome=\"delivered\"} 1",
        "rejoin_http_requests_total{status=\"200\"} 1",
        "rejoin_sessions{kind=\"terminal\",status=\"idle\"} 1",
    ] {
        assert!(text.lines().any(|line| line == expected), "{expected} in {text}");
    }
}

/// Returns the metrics in a dashboard's expression.
fn named(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("rejoin_"))
}

#[tokio::test]
async fn the_dashboard_names_existing_metrics_only() {
    let dashboard = include_str!("../../../../packaging/grafana-dashboard.json");
    let dashboard: serde_json::Value = serde_json::from_str(dashboard).unwrap();
    let there = samples(&text().await);
    let mut asked = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            for name in named(target["expr"].as_str().unwrap()) {
                assert!(there.contains(name), "{}: no metric {name}", panel["title"]);
                asked += 1;
            }
        }
    }

    assert!(asked > 15, "{asked} names");
}
