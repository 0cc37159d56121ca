//! Benchmarks that print ratios to a reference implementation that runs beside them.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod abuse;
mod attach;
mod bare;
mod chaos;
mod client_pool;
mod clock;
mod connect;
mod connection;
mod deflate;
mod drain;
mod echo;
mod endpoint;
mod fanout;
mod frame;
mod fuzz;
mod history;
mod http;
mod idle;
mod machine;
mod postgres;
mod pty;
mod publish;
mod report;
mod server;
mod service;
mod sessions;
mod slow_link;
mod speed;
mod stamp;
mod stops;
mod store;
mod target;
mod tls;
mod tmux;
mod topics;
mod transport;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// CPU per delivery and latency of one topic, against a bare `send()` loop, plain or over TLS
    Fanout(fanout::Options),
    /// CPU per acknowledged publish and latency, against a bare loop that acknowledges
    Publish(publish::Options),
    /// CPU per key and latency from a key to its echo, against a bare loop with a terminal
    Echo(echo::Options),
    /// Bytes and time from an attach to the first screen after long output, beside a raw replay
    Attach(attach::Options),
    /// Bytes and waits while scrolling back on a slow link, beside a raw replay
    History(history::Options),
    /// Memory and file descriptors per idle authenticated connection
    Idle(idle::Options),
    /// Output and keys of a terminal, against a bare terminal, tmux and ttyd
    Speed(speed::Options),
    /// Memory per idle terminal in the server and its keeper, and the start with many keepers
    Sessions(sessions::Options),
    /// The cost of the store, durable publishes beside NATS and Redis, and 10,000 sessions
    Store(store::Options),
    /// Connections per second and CPU per connection, against a bare upgrade
    Connect(connect::Options),
    /// CPU per delivery compressed, against one compression per reader
    Deflate(deflate::Options),
    /// Memory of the server and delays of well-behaved clients under attack
    Abuse(abuse::Options),
    /// Duration and data loss of stops that are obstructed
    Stops(stops::Options),
    /// Reconnects after a server restart, and the messages that clients missed
    Drain(drain::Options),
    /// Crashes of servers and keepers under load; run by `cargo xtask chaos keeper`
    #[command(hide = true)]
    ChaosKeeper(chaos::Options),
    /// Crashes of servers, compared with their store; run by `cargo xtask chaos store`
    #[command(hide = true)]
    ChaosStore(chaos::store::Options),
    /// Print without a pause and record each key, until the last key
    #[command(hide = true)]
    ChaosProgram {
        /// The seed of the output
        seed: u64,
        /// The folder of the recorded keys
        folder: PathBuf,
    },
    /// Expensive output into terminals; run by `cargo xtask fuzz terminal`
    #[command(hide = true)]
    FuzzTerminal(fuzz::Options),
    /// Damaged messages between a keeper and its server; run by `cargo xtask fuzz keeper-wire`
    #[command(hide = true)]
    FuzzKeeperWire(fuzz::keeper::Options),
    /// Damaged logs of keepers; run by `cargo xtask fuzz keeper-log`
    #[command(hide = true)]
    FuzzKeeperLog(fuzz::keeper::Options),
    /// Print the output of `fuzz-terminal` until the terminal is closed
    #[command(hide = true)]
    FuzzProgram {
        /// The seed of the output
        seed: u64,
    },
    /// Run the bare loop, which does as little as possible per delivery
    #[command(hide = true)]
    Bare(bare::Options),
    /// Print output of an agent's command line, then wait until the terminal is closed
    #[command(hide = true)]
    AgentProgram {
        /// The bytes to print
        bytes: u64,
    },
    /// Print numbered lines, then further ones until the terminal is closed
    #[command(hide = true)]
    HistoryProgram {
        /// The number of lines
        lines: u64,
    },
    /// Print this many bytes per key `g`, and echo other keys, until the terminal is closed
    #[command(hide = true)]
    SpeedProgram {
        /// The bytes to print
        bytes: u64,
    },
    /// Echo each typed byte until the terminal is closed
    #[command(hide = true)]
    EchoProgram,
}

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            report::print_line(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Fanout(options) => fanout::run(options),
        Command::Publish(options) => publish::run(options),
        Command::Echo(options) => echo::run(options),
        Command::Attach(options) => attach::run(options),
        Command::History(options) => history::run(options),
        Command::Idle(options) => idle::run(options),
        Command::Speed(options) => speed::run(options),
        Command::Sessions(options) => sessions::run(options),
        Command::Store(options) => store::run(options),
        Command::Connect(options) => connect::run(options),
        Command::Deflate(options) => deflate::run(options),
        Command::Abuse(options) => abuse::run(options),
        Command::Stops(options) => stops::run(options),
        Command::Drain(options) => drain::run(options),
        Command::ChaosKeeper(options) => chaos::run(options),
        Command::ChaosStore(options) => chaos::store::run(options),
        Command::ChaosProgram { seed, folder } => return chaos::output::program(*seed, folder),
        Command::FuzzTerminal(options) => fuzz::run(options),
        Command::FuzzKeeperWire(options) => fuzz::keeper::wire(options),
        Command::FuzzKeeperLog(options) => fuzz::keeper::log(options),
        Command::FuzzProgram { seed } => fuzz::output::print(*seed),
        Command::Bare(options) => bare::serve(options),
        Command::AgentProgram { bytes } => attach::program(*bytes),
        Command::HistoryProgram { lines } => history::program(*lines),
        Command::SpeedProgram { bytes } => speed::program(*bytes),
        Command::EchoProgram => echo::program(),
    }?;
    Ok(ExitCode::SUCCESS)
}
