//! Attacks over HTTP: back-to-back requests on a few kept-alive connections.

use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::anyhow;

use crate::clock;
use crate::http::HttpClient;
use crate::report::Counts;

/// The user of the attacker's token: the first of [`crate::server::Users::Distinct`].
const USER: &str = "u0";
/// Connections, each with a thread of its own.
const CONNECTIONS: usize = 4;
/// Bytes of the data of one request.
const DATA_BYTES: usize = 60_000;

/// A request that is repeated with a new name each time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Flood {
    /// Events of 60 kB for devices that do not exist.
    Emits,
    /// Invalid requests of 60 kB, each with a new idempotency key.
    Keys,
}

impl Flood {
    /// Sends requests until `stop` is set. Returns counts of the responses, and the CPU time.
    pub(super) fn run(
        self,
        address: SocketAddrV4,
        token: &str,
        stop: &AtomicBool,
    ) -> anyhow::Result<(Counts, Duration)> {
        let next = AtomicU64::new(0);
        let send_requests = || -> anyhow::Result<_> {
            let mut counts = Counts::default();
            let mut http = HttpClient::new(address, token);
            let data = "x".repeat(DATA_BYTES);
            while !stop.load(Ordering::Relaxed) {
                // A new name per request grows every map that is keyed by names.
                let number = next.fetch_add(1, Ordering::Relaxed);
                let (path, header, body) = self.request(number, &data);
                let (status, _) = http.post(&path, &header, &body)?;
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

    /// Returns the path, a header line and the body of a request.
    fn request(self, number: u64, data: &str) -> (String, String, String) {
        match self {
            Self::Emits => (
                format!("/users/{USER}/devices/d{number}/emit"),
                String::new(),
                format!(r#"{{"event":"e","data":"{data}"}}"#),
            ),
            Self::Keys => (
                "/sessions".to_owned(),
                format!("Idempotency-Key: k{number}\r\n"),
                format!(r#"{{"kind":"{data}"}}"#),
            ),
        }
    }
}
