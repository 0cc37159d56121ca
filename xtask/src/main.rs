//! The command line of `cargo xtask`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::screen::Extent;
use xtask::test::Selection;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install what is missing, build everything, start the server
    Run {
        /// Passed to `rejoin serve`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Install what is missing, run every check and every test
    Test {
        /// Run only this step (repeatable)
        #[arg(long, value_name = "STEP", conflicts_with = "changed")]
        only: Vec<String>,
        /// Run only the steps and crates that differ from the main branch, with their dependents
        #[arg(long)]
        changed: bool,
        /// List the selected steps and exit
        #[arg(long)]
        list: bool,
    },
    /// Check layers, modules, language, licences, names, sizes, links
    Tidy {
        /// Print the measurements of each area instead
        #[arg(long)]
        report: bool,
    },
    /// Write the files that are generated from the tables of rejoin-protocol
    Codegen {
        /// Write nothing; fail if a file is out of date
        #[arg(long)]
        check: bool,
    },
    /// Build with optimizations and run a benchmark
    Bench {
        /// Passed to the benchmark; `--help` lists the benchmarks
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Build with optimizations and send hostile output through the server for ten minutes
    Fuzz {
        /// The input to fuzz
        target: xtask::fuzz::Target,
        /// Passed to the fuzzer: `--seconds N`, `--seed N`, `--sessions N`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Build with optimizations and crash processes under load, comparing all that was promised
    Chaos {
        /// The part that crashes
        target: xtask::chaos::Target,
        /// Passed to the benchmark: `--seed N`; for `keeper` `--kills N`, `--only SCENARIO` and
        /// `--other FILE`, for `store` `--runs N`, `--store STORE` and `--scenario SCENARIO`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run the Autobahn Testsuite against the WebSocket codec (needs Python 2.7)
    Conformance {
        /// The cases to run, comma-separated; `*` matches any number
        #[arg(long, value_delimiter = ',', default_value = xtask::conformance::CASES)]
        cases: Vec<String>,
        /// The Python 2.7 that runs the suite
        #[arg(long, value_name = "PATH")]
        python: Option<PathBuf>,
    },
    /// Run schemathesis against the HTTP API (needs Python 3 and PyPI)
    ApiTest {
        /// Requests per route and phase
        #[arg(long, default_value_t = xtask::api_test::EXAMPLES)]
        examples: u32,
        /// Passed to schemathesis
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Compare the screen with xterm.js
    Screen {
        /// Print the score of each group of the suite instead of running the tests
        #[arg(long)]
        report: bool,
        /// Passed to the report: `--engines`, `--misses`, `--group PATTERN`, `--cases N`, `--cuts N`,
        /// `--resizes N`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, requires = "report")]
        arguments: Vec<String>,
    },
    /// Run cargo-deny: advisories, licences, banned crates, sources
    Deny {
        /// The checks to run; all by default
        checks: Vec<String>,
    },
    /// Build the pages if their sources changed
    Web,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // On standard output, the error follows the lines of its step.
            xtask::print(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let sh = &xtask::shell()?;

    match command {
        Command::Run { arguments } => xtask::run::run(sh, &arguments),
        Command::Test { only, changed, list } => {
            let selection = match only.as_slice() {
                _ if changed => Selection::Changed,
                [] => Selection::All,
                _ => Selection::Named(only),
            };
            let command = if list { xtask::test::list } else { xtask::test::run };
            command(sh, &selection)
        }
        Command::Tidy { report: true } => xtask::tidy::report(sh),
        Command::Tidy { report: false } => xtask::tidy::run(sh),
        Command::Codegen { check: true } => xtask::codegen::check(),
        Command::Codegen { check: false } => xtask::codegen::write(),
        Command::Bench { arguments } => xtask::bench::run(sh, &arguments),
        Command::Fuzz { target, arguments } => xtask::fuzz::run(sh, target, &arguments),
        Command::Chaos { target, arguments } => xtask::chaos::run(sh, target, &arguments),
        Command::Conformance { cases, python } => {
            xtask::conformance::run(sh, &cases, python.as_deref())
        }
        Command::ApiTest { examples, arguments } => xtask::api_test::run(sh, examples, &arguments),
        Command::Screen { report: true, arguments } => {
            xtask::screen::run(sh, &Extent::Report(arguments))
        }
        Command::Screen { report: false, .. } => xtask::screen::run(sh, &Extent::Tests),
        Command::Deny { checks } => xtask::setup::deny(sh, &checks),
        Command::Web => xtask::pages::build(sh),
    }
}
