//! The servers that take durable messages: rejoin, NATS JetStream and Redis.

use std::fs;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use tempfile::TempDir;

use super::publishers::{Publisher, RETAINED, Wire};
use crate::machine;
use crate::report::print_line;
use crate::server::Server;
use crate::service::Service;

/// The topics of rejoin.
const DURABLE: &str = "durable";
const VOLATILE: &str = "volatile";

/// A running server, and the way in which it takes messages.
pub(super) struct Broker {
    pub(super) name: String,
    wire: Wire,
    process: Process,
}

enum Process {
    Rejoin(Rc<Server>),
    Other { service: Service, _folder: TempDir },
}

impl Broker {
    /// Starts all servers that are installed, and names those that are missing. The durable topic
    /// of rejoin is the first.
    pub(super) fn start_all() -> anyhow::Result<Vec<Self>> {
        let mut brokers = rejoin()?;
        if machine::is_installed("redis-server") {
            for sync in ["always", "everysec"] {
                brokers.push(redis(sync)?);
            }
        } else {
            print_line("Redis is missing: on Debian it is the package `redis-server`");
        }

        if machine::is_installed("nats-server") {
            match nats(Some("always"))? {
                Some(broker) => brokers.push(broker),
                None => print_line("this nats-server has no `sync_interval`: version 2.10 has it"),
            }
            brokers.extend(nats(None)?);
        } else {
            print_line("NATS is missing: on Debian it is the package `nats-server`");
        }
        Ok(brokers)
    }

    /// Connects publishers of this text.
    pub(super) fn connect(&self, count: usize, text: &str) -> anyhow::Result<Vec<Publisher>> {
        let address = match &self.process {
            Process::Rejoin(server) => server.address,
            Process::Other { service, .. } => service.address,
        };
        (0..count).map(|number| Publisher::connect(&self.wire, address, number, text)).collect()
    }

    /// Returns the CPU time of the server so far.
    pub(super) fn cpu_time(&self) -> anyhow::Result<Duration> {
        match &self.process {
            Process::Rejoin(server) => server.cpu_time(),
            Process::Other { service, .. } => {
                Ok(machine::cpu_time(service.id())? + machine::softirq_time())
            }
        }
    }
}

/// Starts rejoin. A durable topic and one in memory are two entries.
fn rejoin() -> anyhow::Result<Vec<Broker>> {
    let section = |topic, is_durable: bool| {
        let retain = format!("retain = {{ frames = {RETAINED}, bytes = \"64MiB\" }}");
        format!("[topics.{topic}]\ndurable = {is_durable}\n{retain}\n")
    };
    let server = Server::rejoin(&(section(DURABLE, true) + &section(VOLATILE, false)))?;
    let server = Rc::new(server);
    let broker = |topic: &str, name: &str| Broker {
        name: format!("rejoin, {name}"),
        wire: Wire::Rejoin { endpoint: server.endpoint("/ws"), topic: topic.to_owned() },
        process: Process::Rejoin(Rc::clone(&server)),
    };
    Ok(vec![broker(DURABLE, "durable"), broker(VOLATILE, "in memory")])
}

/// Starts Redis with an append-only file that is synced as `sync` says.
fn redis(sync: &str) -> anyhow::Result<Broker> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().display().to_string();
    let service = Service::start("redis-server", |port| {
        let port = port.to_string();
        let arguments = [
            ["--bind", "127.0.0.1", "--port", &port],
            ["--dir", &path, "--appendonly", "yes"],
            ["--appendfsync", sync, "--save", ""],
        ];
        arguments.as_flattened().iter().map(|argument| (*argument).to_owned()).collect()
    })?;
    Ok(Broker {
        name: format!("Redis, appendfsync {sync}"),
        wire: Wire::Redis,
        process: Process::Other { service, _folder: folder },
    })
}

/// Starts NATS with a file store. Returns `None` if it does not know the setting.
fn nats(sync_interval: Option<&str>) -> anyhow::Result<Option<Broker>> {
    let folder = tempfile::tempdir()?;
    let sync = sync_interval.map(|value| format!("sync_interval: {value}\n")).unwrap_or_default();
    let store = folder.path().join("store");
    // No pings, which would wait for answers between rounds.
    let settings =
        format!("ping_interval: \"60m\"\njetstream {{\nstore_dir: {store:?}\n{sync}}}\n");
    let path = folder.path().join("nats.conf");
    fs::write(&path, settings)?;
    let path = path.display().to_string();
    let check = Command::new("nats-server").args(["-t", "-c", &path]).output()?;
    if !check.status.success() && sync_interval.is_some() {
        return Ok(None);
    }

    let service = Service::start("nats-server", |port| {
        ["-a", "127.0.0.1", "-p", &port.to_string(), "-c", &path].map(str::to_owned).to_vec()
    })?;
    let name = sync_interval.map_or("default".to_owned(), |value| format!("sync_interval {value}"));
    Ok(Some(Broker {
        name: format!("JetStream, {name}"),
        wire: Wire::Nats,
        process: Process::Other { service, _folder: folder },
    }))
}
