//! The project's own commands: cargo xtask run, test, tidy, codegen, bench, fuzz, conformance,
//! api-test.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set the machine up, build everything, start the server
    Run {
        /// Passed to `rejoin serve`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Set the machine up, run every check and every test
    Test {
        /// Run this step only (may be repeated)
        #[arg(long, value_name = "STEP")]
        only: Vec<String>,
        /// Name the steps and stop
        #[arg(long)]
        list: bool,
    },
    /// Check what the compiler does not: layers, names, sizes, links
    Tidy,
    /// Write the generated files from the tables of rejoin-protocol
    Codegen {
        /// Change nothing; fail if something would change
        #[arg(long)]
        check: bool,
    },
    /// Build with optimizations and measure: fanout, idle, terminal, connect, deflate, abuse, drain
    Bench {
        /// Passed to the benchmark; `--help` lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Build with optimizations and put hostile output into terminals for ten minutes
    Fuzz {
        /// What to fuzz
        target: xtask::fuzz::Target,
        /// Passed to the fuzzer: `--seconds N`, `--seed N`, `--sessions N`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run the Autobahn Testsuite against the WebSocket codec (needs Python 2.7)
    Conformance {
        /// The cases to run, with `*` for any, separated by commas
        #[arg(long, value_delimiter = ',', default_value = xtask::conformance::CASES)]
        cases: Vec<String>,
        /// The Python 2.7 to run the suite with
        #[arg(long, value_name = "PATH")]
        python: Option<PathBuf>,
    },
    /// Run schemathesis against the HTTP API (needs Python 3 and PyPI)
    ApiTest {
        /// Requests for each route and phase
        #[arg(long, default_value_t = xtask::api_test::EXAMPLES)]
        examples: u32,
        /// Passed to schemathesis
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Check licences and the crates that may be used
    Deny,
    /// Build the pages, if their sources changed
    Web,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            xtask::say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let root = xtask::root();
    match command {
        Command::Run { arguments } => xtask::run::run(&root, &arguments),
        Command::Test { list: true, .. } => {
            xtask::steps::list();
            Ok(())
        }
        Command::Test { only, .. } => xtask::steps::test(&root, &only),
        Command::Tidy => xtask::tidy::run(&root),
        Command::Codegen { check: true } => xtask::codegen::check(&root),
        Command::Codegen { check: false } => xtask::codegen::write(&root),
        Command::Bench { arguments } => xtask::bench::run(&root, &arguments),
        Command::Fuzz { target, arguments } => xtask::fuzz::run(&root, target, &arguments),
        Command::Conformance { cases, python } => {
            xtask::conformance::run(&root, &cases, python.as_deref())
        }
        Command::ApiTest { examples, arguments } => {
            xtask::api_test::run(&root, examples, &arguments)
        }
        Command::Deny => xtask::steps::test(&root, &["deny".to_owned()]),
        Command::Web => xtask::pages::set_up_and_build(&root),
    }
}
