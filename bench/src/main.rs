//! Benchmarks that print ratios against a reference that runs beside them.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod abuse;
mod bare;
mod client;
mod clock;
mod connect;
mod contestant;
mod crowd;
mod data;
mod deflate;
mod drain;
mod echo;
mod fanout;
mod frame;
mod fuzz;
mod http;
mod idle;
mod machine;
mod publish;
mod random;
mod report;
mod said;
mod server;
mod stops;
mod swarm;
mod terminal;
mod tls;
mod token;
mod topics;
mod wire;

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
    /// Memory and file descriptors per idle authenticated connection
    Idle(idle::Options),
    /// One terminal that prints as fast as it can, with and without a stuck viewer
    Terminal(terminal::Options),
    /// Connections per second and CPU per connection, against a bare upgrade
    Connect(connect::Options),
    /// CPU per delivery compressed, against one compression per reader
    Deflate(deflate::Options),
    /// What peers that misbehave do to those that do not
    Abuse(abuse::Options),
    /// How long stops take, and what they leave, whatever is in their way
    Stops(stops::Options),
    /// How clients come back when the server is restarted, and what they missed
    Drain(drain::Options),
    /// Output that costs the most into terminals; `cargo xtask fuzz terminal` runs it
    #[command(hide = true)]
    FuzzTerminal(fuzz::Options),
    /// Print what `fuzz-terminal` puts into a terminal, until it is closed
    #[command(hide = true)]
    FuzzProgram {
        /// From which the output is made
        seed: u64,
    },
    /// The bare loop: as little as can be done per delivery
    #[command(hide = true)]
    Bare(bare::Options),
    /// Print lines that carry the time, until the terminal is closed
    #[command(hide = true)]
    Print,
    /// Write each byte back that is typed, until the terminal is closed
    #[command(hide = true)]
    EchoProgram,
}

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Fanout(options) => fanout::run(options),
        Command::Publish(options) => publish::run(options),
        Command::Echo(options) => echo::run(options),
        Command::Idle(options) => idle::run(options),
        Command::Terminal(options) => terminal::run(options),
        Command::Connect(options) => connect::run(options),
        Command::Deflate(options) => deflate::run(options),
        Command::Abuse(options) => abuse::run(options),
        Command::Stops(options) => stops::run(options),
        Command::Drain(options) => drain::run(options),
        Command::FuzzTerminal(options) => fuzz::run(options),
        Command::FuzzProgram { seed } => fuzz::output::program(*seed),
        Command::Bare(options) => bare::serve(options),
        Command::Print => terminal::print(),
        Command::EchoProgram => echo::program(),
    }
}
