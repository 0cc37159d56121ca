//! `bench stops`: how long a stop takes, and what is left of the data, whatever is in its way.

use std::collections::HashSet;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use crate::client::{Connection, begin_connect};
use crate::http::Http;
use crate::machine;
use crate::report::say;
use crate::server::{Server, limits};
use crate::tls::Identity;

/// Enough for all that is published before one stop.
const RETAIN: &str = "[topics.stops]\nretain = { frames = 1000000, bytes = \"256 MiB\" }\n";
/// What is published to.
const TOPIC: &str = "stops";
/// Peers, requests, sockets or programs that are in the way of one stop.
const OBSTACLES: usize = 20;
/// Messages published, and acknowledged, before each stop.
const PUBLISHED: usize = 10;
/// Threads of each kind that publish at the moment of the stop.
const PUBLISHERS: usize = 2;
/// Messages of 60 kB for peers that do not read: more than sockets hold.
const FLOOD: usize = 24;
/// Without an end by then, the server is stuck.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest stop that is in order, which is that of the shipped unit.
const LIMIT: Duration = Duration::from_secs(15);
/// A program that lets neither a hang-up nor a request to end stop it.
const STUBBORN: &str = "[profiles.stubborn]\n\
    command = [\"sh\", \"-c\", \"trap '' HUP TERM; echo ready; exec sleep 600\"]\n";

/// The amount of work.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Stops with each obstacle
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..))]
    stops: u32,
    /// These obstacles only
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Kind>,
}

/// What is in the way of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// Subscribers whose sockets are full.
    Blocked,
    /// Half of a request's head, and half of a body.
    HalfRequests,
    /// Sockets that never begin their TLS handshake.
    SilentTls,
    /// A program behind webhooks that takes requests and does not answer.
    Webhooks,
    /// Programs that ignore SIGHUP and SIGTERM.
    Stubborn,
    /// Messages that are published at the moment of the stop.
    Publishes,
}

/// What the stops with one obstacle came to.
#[derive(Debug, Default)]
struct Tally {
    longest: Duration,
    total: Duration,
    /// Exit codes that are not 0, as they came.
    bad: Vec<String>,
    /// Stops after which a position meant nothing to the next process.
    lost: u32,
    acknowledged: usize,
    missing: usize,
    repeated: usize,
}

/// What has to stay until the server has ended.
#[derive(Debug, Default)]
struct Held {
    connections: Vec<Connection>,
    sockets: Vec<TcpStream>,
}

/// The messages of a topic, by their positions.
#[derive(Debug)]
struct Ledger {
    /// The position before the messages of this stop.
    before: String,
    /// All positions that were ever acknowledged.
    all: HashSet<String>,
}

/// Measures and prints.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    machine::allow_open_files(2000)?;
    say(format_args!("{} stops with each obstacle; {}", options.stops, machine::load()));
    say(
        "in the way | longest | mean | exit codes other than 0 | checkpoints lost | acknowledged | missing | given twice",
    );
    say("---|---|---|---|---|---|---|---");
    let all = <Kind as clap::ValueEnum>::value_variants();
    let mut wrong = Vec::new();
    for kind in if options.only.is_empty() { all } else { &options.only } {
        let tally = measure(*kind, options.stops)?;
        let Tally { longest, total, bad, lost, acknowledged, missing, repeated } = &tally;
        say(format_args!(
            "{kind:?} | {:.2} s | {:.2} s | {} | {lost} | {acknowledged} | {missing} | {repeated}",
            longest.as_secs_f64(),
            (*total / options.stops).as_secs_f64(),
            if bad.is_empty() { "none".to_owned() } else { bad.join(", ") },
        ));
        if *longest > LIMIT || !bad.is_empty() || *lost != 0 || missing + repeated != 0 {
            wrong.push(format!("{kind:?}"));
        }
    }
    ensure!(wrong.is_empty(), "stops that were not in order: {}", wrong.join(", "));
    Ok(())
}

fn measure(kind: Kind, stops: u32) -> anyhow::Result<Tally> {
    let program = TcpListener::bind("127.0.0.1:0")?;
    let identity = (kind == Kind::SilentTls).then(Identity::generate).transpose()?;
    let secret = tempfile::NamedTempFile::new()?;
    secret.as_file().write_all(b"whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n")?;
    let mut server = match &identity {
        Some(identity) => Server::rejoin_over(Some(identity))?,
        None => {
            let url = format!("http://{}/", program.local_addr()?);
            let hook = format!("url = {url:?}\nsecret_file = {:?}\n", secret.path());
            let hooks = format!("[webhooks.events]\n{hook}[webhooks.messages.slow]\n{hook}");
            let more = if kind == Kind::Webhooks { hooks.as_str() } else { STUBBORN };
            Server::rejoin_limited(&limits(), &format!("{RETAIN}{more}"))?
        }
    };
    let start = server.connect(0)?.ask("subscribe", &json!({"topic": TOPIC}))?;
    let before = start["position"].as_str().context("a position")?.to_owned();
    let mut ledger = Ledger { before, all: HashSet::new() };
    let mut tally = Tally::default();
    for _ in 0..stops {
        stop(kind, &mut server, &mut ledger, &mut tally)?;
    }
    Ok(tally)
}

/// One stop: the obstacle, the signal, the next process, and what it knows.
fn stop(
    kind: Kind,
    server: &mut Server,
    ledger: &mut Ledger,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let held = obstruct(kind, server)?;
    let mut publisher = server.connect(0)?;
    let in_flight =
        if kind == Kind::Publishes { publish_until_refused(server)? } else { Vec::new() };
    let mut acknowledged = Vec::new();
    for number in 0..PUBLISHED {
        acknowledged.push(publish(&mut publisher, number)?);
    }
    let began = Instant::now();
    server.terminate()?;
    let Some(status) = server.ends_within(PATIENCE)? else {
        bail!("{kind:?}: the server does not stop\n{}", server.log());
    };
    let took = began.elapsed();
    drop(held);
    for publisher in in_flight {
        acknowledged.extend(publisher.join().ok().context("a publisher panicked")?);
    }
    tally.longest = tally.longest.max(took);
    tally.total += took;
    if status.code() != Some(0) {
        tally.bad.push(status.to_string());
    }
    server.restart()?;
    check(server, ledger, tally, &acknowledged)
}

/// Publishes without a pause from several threads, over sockets and over HTTP, until the server
/// refuses it. Each returns the positions that were acknowledged.
fn publish_until_refused(server: &Server) -> anyhow::Result<Vec<JoinHandle<Vec<String>>>> {
    let mut publishers = Vec::new();
    for index in 0..PUBLISHERS {
        let mut connection = server.connect(index)?;
        publishers.push(thread::spawn(move || {
            (0..).map_while(|number| publish(&mut connection, number).ok()).collect()
        }));
        let mut http = Http::new(server.address, server.token()?);
        publishers.push(thread::spawn(move || {
            (0..).map_while(|number| publish_over(&mut http, number).ok()).collect()
        }));
    }
    Ok(publishers)
}

fn publish_over(http: &mut Http, number: usize) -> anyhow::Result<String> {
    let body = json!({"topic": TOPIC, "data": number}).to_string();
    let (status, answer) = http.post("/publish", "", &body)?;
    ensure!(status == 200, "a publish was answered with {status}");
    let answer: Value = serde_json::from_slice(&answer)?;
    Ok(answer["position"].as_str().context("a position")?.to_owned())
}

fn publish(connection: &mut Connection, number: usize) -> anyhow::Result<String> {
    let ack = connection.ask("publish", &json!({"topic": TOPIC, "data": number}))?;
    Ok(ack["position"].as_str().context("a position")?.to_owned())
}

/// Compares what was acknowledged with what the next process has.
fn check(
    server: &Server,
    ledger: &mut Ledger,
    tally: &mut Tally,
    acknowledged: &[String],
) -> anyhow::Result<()> {
    tally.acknowledged += acknowledged.len();
    tally.repeated +=
        acknowledged.iter().filter(|position| !ledger.all.insert((*position).clone())).count();
    let mut reader = server.connect(0)?;
    let start = reader.ask("subscribe", &json!({"topic": TOPIC, "position": ledger.before}))?;
    if start["verdict"] != "resumed" {
        tally.lost += 1;
    }
    let mut there = HashSet::new();
    for _ in 0..start["replayed"].as_u64().unwrap_or(0) {
        there.insert(reader.message()?);
    }
    tally.missing += acknowledged.iter().filter(|position| !there.contains(*position)).count();
    // The next process gives this position to nothing else.
    let position = publish(&mut reader, 0)?;
    if !ledger.all.insert(position.clone()) || there.contains(&position) {
        tally.repeated += 1;
    }
    ledger.before = position;
    Ok(())
}

fn obstruct(kind: Kind, server: &Server) -> anyhow::Result<Held> {
    let mut held = Held::default();
    match kind {
        Kind::Blocked => {
            for index in 0..OBSTACLES {
                let mut peer = server.connect(index)?;
                peer.ask("subscribe", &json!({"topic": "flood"}))?;
                held.connections.push(peer);
            }
            let mut publisher = server.connect(0)?;
            let data = "x".repeat(60_000);
            for _ in 0..FLOOD {
                publisher.ask("publish", &json!({"topic": "flood", "data": data}))?;
            }
        }
        Kind::HalfRequests => {
            for index in 0..OBSTACLES {
                let mut socket = TcpStream::connect(server.address)?;
                let token = server.token()?;
                let request = format!(
                    "POST /api/v1/publish HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\
                     Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{",
                    server.address
                );
                let bytes = request.as_bytes();
                // Half of them stop within the head.
                let sent = if index % 2 == 0 { &bytes[..bytes.len() / 2] } else { bytes };
                socket.write_all(sent)?;
                held.sockets.push(socket);
            }
        }
        Kind::SilentTls => {
            for index in 0..OBSTACLES {
                held.sockets.push(begin_connect(server.address, index)?);
            }
        }
        Kind::Webhooks => {
            for index in 0..OBSTACLES {
                let mut peer = server.connect(index)?;
                peer.say(r#"{"id":"s","type":"slow","payload":{}}"#)?;
                held.connections.push(peer);
            }
        }
        Kind::Stubborn => {
            let mut peer = server.connect(0)?;
            for _ in 0..OBSTACLES {
                let create = json!({"kind": "terminal", "profile": "stubborn"});
                let created = peer.ask("create_session", &create)?;
                peer.ask("attach", &json!({"session": created["session"]["id"]}))?;
                // It says so once it ignores the signals.
                peer.printed(b"ready")?;
            }
            held.connections.push(peer);
        }
        Kind::Publishes => {}
    }
    Ok(held)
}
