//! Benchmarks that print ratios against something run beside them.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bare;
mod client;
mod clock;
mod data;
mod fanout;
mod frame;
mod idle;
mod machine;
mod report;
mod server;
mod swarm;
mod terminal;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// CPU per delivery and latency of one topic, against a bare `send()` loop
    Fanout(fanout::Options),
    /// Memory per idle authenticated connection
    Idle(idle::Options),
    /// One terminal that prints as fast as it can, with and without a stuck viewer
    Terminal(terminal::Options),
    /// The bare loop: as little as can be done per delivery
    #[command(hide = true)]
    Bare(bare::Options),
    /// Print lines that carry the time, until the terminal is closed
    #[command(hide = true)]
    Print,
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
        Command::Idle(options) => idle::run(options),
        Command::Terminal(options) => terminal::run(options),
        Command::Bare(options) => bare::serve(options),
        Command::Print => terminal::print(),
    }
}
