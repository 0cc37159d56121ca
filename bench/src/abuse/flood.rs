//! Attacks over HTTP: back-to-back requests on a few kept-alive connections.

use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::anyhow;

use super::attack::Kind;
use crate::clock;
use crate::http::HttpClient;
use crate::report::Counts;

/// The user of the attacker's token: the first of [`crate::server::Users::Distinct`].
const USER: &str = "u0";
/// Connections, each with a thread of its own.
const CONNECTIONS: usize = 4;
/// Bytes of the data of one request.
const DATA_BYTES: usize = 60_000;

/// Sends requests until `stop` is set. Returns counts of the responses, and the CPU time.
pub(super) fn run(
    kind: Kind,
    address: SocketAddrV4,
    token: &str,
    stop: &AtomicBool,
) -> anyhow::Result<(Counts, Duration)> {
    let data = "x".repeat(DATA_BYTES);
    let body = match kind {
        Kind::Emits => format!(r#"{{"event":"e","data":"{data}"}}"#),
        _ => format!(r#"{{"kind":"{data}"}}"#),
    };
    let next = AtomicU64::new(0);
    let send_requests = || -> anyhow::Result<_> {
        let mut counts = Counts::default();
        let http = HttpClient::new(address, token);
        while !stop.load(Ordering::Relaxed) {
            // A new name per request grows every map that is keyed by names.
            let number = next.fetch_add(1, Ordering::Relaxed);
            let (status, _) = match kind {
                Kind::Emits => {
                    http.post(&format!("/users/{USER}/devices/d{number}/emit"), None, &body)?
                }
                _ => http.post("/sessions", Some(&format!("k{number}")), &body)?,
            };
            counts.add(&format!("status {status}"));
        }
        Ok((counts, clock::thread_cpu()))
    };

    let results = thread::scope(|scope| {
        // Blocking requests leave the server idle between them; several threads do not.
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(send_requests)).collect();
        threads.into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    let mut total = (Counts::default(), Duration::ZERO);
    for result in results {
        let (counts, cpu) = result.map_err(|_| anyhow!("the attacker panicked"))??;
        total.0.merge(&counts);
        total.1 += cpu;
    }
    Ok(total)
}
