//! Attacks over HTTP: requests one after the other, on a few connections that stay.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::anyhow;

use super::raid::Target;
use crate::clock;
use crate::http::Http;
use crate::report::Counts;

/// The first of many users, whose token the attacker has.
const USER: &str = "u0";
/// Connections that send requests, each from a thread of its own.
const CONNECTIONS: usize = 4;
/// Bytes of the data of one request.
const DATA_BYTES: usize = 60_000;

/// A request that is repeated, with a new name each time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Flood {
    /// Events of 60 kB for devices that do not exist.
    Emits,
    /// Wrong requests of 60 kB, each with a new idempotency key.
    Keys,
}

impl Flood {
    /// Asks until it is to stop; what was answered, and the CPU time that it took.
    pub(super) fn run(
        self,
        target: &Target,
        stop: &AtomicBool,
    ) -> anyhow::Result<(Counts, Duration)> {
        let next = AtomicU64::new(0);
        let mut total = (Counts::default(), Duration::ZERO);
        let all = thread::scope(|scope| {
            let ask = || self.ask(target, stop, &next);
            let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(ask)).collect();
            let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
            joined.collect::<Result<Vec<_>, _>>()
        });
        for result in all.map_err(|_| anyhow!("the attacker panicked"))? {
            let (counts, cpu) = result?;
            total.0.join(&counts);
            total.1 += cpu;
        }
        Ok(total)
    }

    fn ask(
        self,
        target: &Target,
        stop: &AtomicBool,
        next: &AtomicU64,
    ) -> anyhow::Result<(Counts, Duration)> {
        let mut what = Counts::default();
        let mut http = Http::new(target.endpoint.address, &target.token);
        let data = "x".repeat(DATA_BYTES);
        while !stop.load(Ordering::Relaxed) {
            let (path, header, body) = self.request(next.fetch_add(1, Ordering::Relaxed), &data);
            let (status, _) = http.post(&path, &header, &body)?;
            what.add(&format!("answered {status}"));
        }
        Ok((what, clock::thread_cpu()))
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
