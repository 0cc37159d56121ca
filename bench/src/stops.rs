//! `bench stops`: the duration of obstructed stops, and the data that the next process has.

use std::any::Any;
use std::collections::HashSet;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum as _;
use serde_json::{Value, json};

use crate::connection::Connection;
use crate::endpoint::start_connect;
use crate::frame;
use crate::http::HttpClient;
use crate::machine;
use crate::report::{print_header, print_line};
use crate::server::{Server, limits};
use crate::tls::Identity;

const TOPIC: &str = "stops";
/// Retains all messages of one stop.
const RETAIN: &str = "[topics.stops]\nretain = { frames = 1000000, bytes = \"256 MiB\" }\n";
/// Peers, requests, sockets or programs that obstruct one stop.
const OBSTACLES: usize = 20;
/// Messages published before each stop.
const PUBLISHED: usize = 10;
/// Threads of each kind that publish during a stop.
const PUBLISHERS: usize = 2;
/// Messages of 60 kB to peers that do not read: more than their sockets hold.
const FLOOD: usize = 24;
/// The time after which a stop is given up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);
/// The longest acceptable stop: the `TimeoutStopSec` of the packaged systemd unit.
const LIMIT: Duration = Duration::from_secs(15);
/// A program that ignores SIGHUP and SIGTERM. It prints `ready` once it does.
const STUBBORN: &str = "[profiles.stubborn]\n\
    command = [\"sh\", \"-c\", \"trap '' HUP TERM; echo ready; exec sleep 600\"]\n";

/// The amount of work.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Stops with each obstacle
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..))]
    stops: u32,
    /// Run only these obstacles
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Kind>,
}

/// The kinds of obstacles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// Subscribers whose sockets are full.
    Blocked,
    /// Requests that end within their head or their body.
    HalfRequests,
    /// Sockets that never start their TLS handshake.
    SilentTls,
    /// A webhook endpoint that accepts requests and does not respond.
    Webhooks,
    /// Programs that ignore SIGHUP and SIGTERM.
    Stubborn,
    /// Messages that are published during the stop.
    Publishes,
}

/// The figures of all stops with one obstacle.
#[derive(Debug, Default)]
struct Tally {
    longest: Duration,
    total: Duration,
    /// Exit statuses other than 0.
    failures: Vec<String>,
    /// Stops whose next process did not know the last position.
    lost: u32,
    acknowledged: usize,
    missing: usize,
    repeated: usize,
}

/// The positions of a topic.
#[derive(Debug)]
struct Ledger {
    /// The position before the messages of this stop.
    before: String,
    /// All positions that were ever acknowledged.
    all: HashSet<String>,
}

/// Runs the benchmark and prints its table.
///
/// # Errors
/// A stop took too long, failed, or lost or repeated a message.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    machine::allow_open_files(2000)?;
    print_line(format_args!("{} stops with each obstacle; {}", options.stops, machine::load()));
    print_header(
        "obstacle | longest | mean | exit codes other than 0 | checkpoints lost | acknowledged | \
         missing | repeated",
    );

    let kinds =
        if options.only.is_empty() { Kind::value_variants() } else { options.only.as_slice() };
    let mut wrong = Vec::new();
    for kind in kinds {
        let tally = measure(*kind, options.stops)?;
        let Tally { longest, total, failures, lost, acknowledged, missing, repeated } = &tally;
        print_line(format_args!(
            "{kind:?} | {:.2} s | {:.2} s | {} | {lost} | {acknowledged} | {missing} | {repeated}",
            longest.as_secs_f64(),
            (*total / options.stops).as_secs_f64(),
            if failures.is_empty() { "none".to_owned() } else { failures.join(", ") },
        ));
        if *longest > LIMIT || !failures.is_empty() || *lost != 0 || missing + repeated != 0 {
            wrong.push(format!("{kind:?}"));
        }
    }
    ensure!(wrong.is_empty(), "stops out of order: {}", wrong.join(", "));
    Ok(())
}

fn measure(kind: Kind, stops: u32) -> anyhow::Result<Tally> {
    // Accepts connections in its backlog, and never reads.
    let endpoint = TcpListener::bind("127.0.0.1:0")?;
    // Outlives the restarts, which read its files again.
    let identity = (kind == Kind::SilentTls).then(Identity::generate).transpose()?;
    let secret = tempfile::NamedTempFile::new()?;
    secret.as_file().write_all(b"whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n")?;
    let mut server = match kind {
        Kind::SilentTls => Server::rejoin_over(identity.as_ref())?,
        Kind::Webhooks => {
            let url = format!("http://{}/", endpoint.local_addr()?);
            let hook = format!("url = {url:?}\nsecret_file = {:?}\n", secret.path());
            let hooks = format!("[webhooks.events]\n{hook}[webhooks.messages.slow]\n{hook}");
            Server::rejoin_limited(&limits(), &format!("{RETAIN}{hooks}"))?
        }
        Kind::Stubborn => {
            // Terminals of former stops stay in the list after their programs have ended.
            let limits = format!("{}max_sessions_per_user = 10000\n", limits());
            Server::rejoin_limited(&limits, &format!("{RETAIN}{STUBBORN}"))?
        }
        _ => Server::rejoin_limited(&limits(), RETAIN)?,
    };

    let start = server.connect()?.request("subscribe", &json!({"topic": TOPIC}))?;
    let mut ledger = Ledger { before: position(&start)?, all: HashSet::new() };
    let mut tally = Tally::default();
    for _ in 0..stops {
        stop(kind, &mut server, &mut ledger, &mut tally)?;
    }
    Ok(tally)
}

/// Stops the server while it is obstructed, and checks the data of the next process.
fn stop(
    kind: Kind,
    server: &mut Server,
    ledger: &mut Ledger,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let obstacles = obstruct(kind, server)?;

    let mut publisher = server.connect()?;
    let in_flight =
        if kind == Kind::Publishes { publish_until_refused(server)? } else { Vec::new() };

    let mut acknowledged =
        (0..PUBLISHED).map(|_| publish(&mut publisher)).collect::<anyhow::Result<Vec<_>>>()?;

    let started = Instant::now();
    server.terminate()?;
    let Some(status) = server.wait(GIVE_UP_AFTER)? else {
        bail!("{kind:?}: the server does not stop\n{}", server.log());
    };
    let duration = started.elapsed();
    drop(obstacles);
    // Joined after the end of the server: a refused or broken request ends each thread.
    for publisher in in_flight {
        acknowledged.extend(publisher.join().ok().context("a publisher panicked")?);
    }
    // Counted before the restart, so that a failed start cannot hide a long stop.
    tally.longest = tally.longest.max(duration);
    tally.total += duration;
    if status.code() != Some(0) {
        tally.failures.push(status.to_string());
    }

    // Otherwise those of each stop would use up the descriptors for terminals.
    server.end_terminals();
    server.restart()?;
    if kind == Kind::Stubborn {
        close_sessions(server)?;
    }
    check(server, ledger, tally, &acknowledged)
}

/// Closes the sessions whose programs have ended, so that they count towards no limit.
fn close_sessions(server: &Server) -> anyhow::Result<()> {
    let http = HttpClient::new(server.address, server.token()?);
    let list: Value = serde_json::from_str(&http.get("/sessions")?)?;
    for session in list["sessions"].as_array().context("the list has no sessions")? {
        let id = session["id"].as_str().context("a session has no id")?;
        http.delete(&format!("/sessions/{id}")).context("cannot close a session")?;
    }
    Ok(())
}

/// Publishes from several threads, over WebSockets and over HTTP, until the server refuses.
///
/// Each thread returns the acknowledged positions.
fn publish_until_refused(server: &Server) -> anyhow::Result<Vec<JoinHandle<Vec<String>>>> {
    let mut publishers = Vec::new();
    for _ in 0..PUBLISHERS {
        let mut connection = server.connect()?;
        let http = HttpClient::new(server.address, server.token()?);
        publishers.push(thread::spawn(move || {
            std::iter::from_fn(|| publish(&mut connection).ok()).collect()
        }));
        publishers.push(thread::spawn(move || {
            std::iter::from_fn(|| publish_over_http(&http).ok()).collect()
        }));
    }
    Ok(publishers)
}

fn publish_over_http(http: &HttpClient) -> anyhow::Result<String> {
    let body = json!({"topic": TOPIC, "data": "stop"}).to_string();
    let (status, response) = http.post("/publish", None, &body)?;
    ensure!(status == 200, "a publish was answered with {status}");
    position(&serde_json::from_str(&response)?)
}

fn publish(connection: &mut Connection) -> anyhow::Result<String> {
    position(&connection.request("publish", &json!({"topic": TOPIC, "data": "stop"}))?)
}

fn position(payload: &Value) -> anyhow::Result<String> {
    Ok(payload["position"].as_str().context("a payload has no position")?.to_owned())
}

/// Waits for the next message of a topic, and returns its position.
fn next_position(reader: &mut Connection) -> anyhow::Result<String> {
    reader.wait_for(|frame| {
        let message = frame.message().ok()?;
        (message["type"] == "message").then(|| position(&message["payload"]).ok())?
    })
}

/// Compares the acknowledged positions with those of the next process.
fn check(
    server: &Server,
    ledger: &mut Ledger,
    tally: &mut Tally,
    acknowledged: &[String],
) -> anyhow::Result<()> {
    tally.acknowledged += acknowledged.len();
    let is_repeated = |position: &&String| !ledger.all.insert((*position).clone());
    tally.repeated += acknowledged.iter().filter(is_repeated).count();

    let mut reader = server.connect()?;
    let subscribe = json!({"topic": TOPIC, "position": ledger.before});
    let start = reader.request("subscribe", &subscribe)?;
    if start["verdict"] != "resumed" {
        tally.lost += 1;
    }
    let replayed = start["replayed"].as_u64().unwrap_or(0);
    let retained: HashSet<_> =
        (0..replayed).map(|_| next_position(&mut reader)).collect::<Result<_, _>>()?;
    tally.missing += acknowledged.iter().filter(|position| !retained.contains(*position)).count();

    // The next process must not assign a position again.
    let position = publish(&mut reader)?;
    if !ledger.all.insert(position.clone()) || retained.contains(&position) {
        tally.repeated += 1;
    }
    ledger.before = position;
    Ok(())
}

/// Creates the obstacles of one stop. They last until the returned value is dropped.
fn obstruct(kind: Kind, server: &Server) -> anyhow::Result<Box<dyn Any>> {
    let mut peers = Vec::new();
    let mut sockets = Vec::new();
    for index in 0..OBSTACLES {
        match kind {
            Kind::Blocked => {
                let mut peer = server.connect()?;
                peer.request("subscribe", &json!({"topic": "flood"}))?;
                peers.push(peer);
            }
            Kind::HalfRequests => {
                let request = format!(
                    "POST /api/v1/publish HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
                     Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{",
                    server.address,
                    server.token()?
                );
                // One half of the requests ends within the head, the other within the body.
                let end = if index % 2 == 0 { request.len() / 2 } else { request.len() };
                let mut socket = TcpStream::connect(server.address)?;
                socket.write_all(&request.as_bytes()[..end])?;
                sockets.push(socket);
            }
            Kind::SilentTls => sockets.push(start_connect(server.address)?),
            Kind::Webhooks => {
                let mut peer = server.connect()?;
                peer.send(frame::TEXT, br#"{"id":"s","type":"slow","payload":{}}"#)?;
                peers.push(peer);
            }
            Kind::Stubborn => {
                let mut peer = server.connect()?;
                let create = json!({"kind": "terminal", "profile": "stubborn"});
                let created = peer.request("create_session", &create)?;
                // Attached, because the output shows when the program ignores the signals.
                peer.request("attach", &json!({"session": created["session"]["id"]}))?;
                peer.wait_for_output(b"ready")?;
                peers.push(peer);
            }
            Kind::Publishes => {}
        }
    }

    if kind == Kind::Blocked {
        let message = json!({"topic": "flood", "data": "x".repeat(60_000)});
        let mut publisher = server.connect()?;
        for _ in 0..FLOOD {
            publisher.request("publish", &message)?;
        }
    }
    Ok(Box::new((peers, sockets)))
}
