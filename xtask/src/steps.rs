//! The steps of `cargo xtask test`, in the order in which they run.

use std::thread;

use xshell::{Shell, cmd};

use crate::changes::Changes;
use crate::screen::Extent;
use crate::setup::Need;
use crate::tidy;
use crate::{chaos, codegen, fuzz, packages, pages, screen};

/// The golden messages, which the tests of the TypeScript client also read.
const GOLDEN: &str = "crates/rejoin-protocol/tests/golden";
/// The files and folders that the TypeScript steps check.
const TYPESCRIPT: [&str; 5] = ["biome.json", "client", "package-lock.json", "package.json", "web"];

/// The kills of each scenario and store in the chaos step; `cargo xtask chaos` has 50 and more.
const CHAOS_KILLS: u32 = 2;
/// The duration of the fuzz step; `cargo xtask fuzz terminal` runs for ten minutes.
const FUZZ_SECONDS: u32 = 10;

/// A step of the test.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) needs: &'static [Need],
    /// Runs beside the steps after it, because it needs one processor only.
    pub(crate) is_background: bool,
    /// Decides whether `--changed` runs the step.
    pub(crate) concerns: fn(&Changes) -> bool,
    pub(crate) run: fn(&Context<'_>) -> anyhow::Result<()>,
}

/// The input of a step.
pub(crate) struct Context<'a> {
    pub(crate) sh: &'a Shell,
    /// The arguments that select packages for cargo.
    pub(crate) packages: Vec<String>,
}

/// The cheapest steps come first. The expensive ones reuse the build of the `rust` step.
pub(crate) const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        about: "the Rust code is formatted",
        needs: &[Need::RustTools],
        is_background: false,
        concerns: |_| true,
        run: |Context { sh, .. }| Ok(cmd!(sh, "cargo fmt --all --check").run()?),
    },
    Step {
        name: "tidy",
        about: "layers, modules, language, licences, names, sizes, links",
        needs: &[],
        is_background: false,
        concerns: |_| true,
        run: |Context { sh, .. }| tidy::run(sh),
    },
    Step {
        name: "codegen",
        about: "the generated files match the tables",
        needs: &[],
        is_background: false,
        concerns: |_| true,
        run: |_| codegen::check(),
    },
    Step {
        name: "web",
        about: "the pages build, are formatted and type-check",
        needs: &[Need::Node],
        is_background: false,
        concerns: |changes| changes.touch(&TYPESCRIPT),
        run: |Context { sh, .. }| {
            pages::build(sh)?;
            Ok(cmd!(sh, "npm run lint").run()?)
        },
    },
    Step {
        name: "clippy",
        about: "no warnings, with all features",
        needs: &[Need::RustTools, Need::Node],
        is_background: false,
        concerns: Changes::affect_rust,
        run: clippy,
    },
    Step {
        name: "doc",
        about: "the documentation builds without warnings",
        needs: &[Need::Node],
        is_background: false,
        concerns: Changes::affect_rust,
        run: doc,
    },
    Step {
        name: "screen",
        about: "the screen against xterm.js",
        needs: &[Need::Node],
        is_background: true,
        concerns: |changes| changes.affect("rejoin-screen"),
        run: |Context { sh, .. }| screen::run(sh, &Extent::Tests),
    },
    Step {
        name: "rust",
        about: "the tests and doc examples of the crates",
        needs: &[Need::Node, Need::Postgres],
        is_background: false,
        concerns: Changes::affect_rust,
        run: rust,
    },
    Step {
        name: "fuzz",
        about: "hostile output into terminals, damaged bytes of keepers",
        needs: &[Need::Node],
        is_background: false,
        concerns: |changes| changes.affect("rejoin") || changes.affect("rejoin-bench"),
        run: |Context { sh, .. }| {
            pages::build(sh)?;
            fuzz::check(sh, FUZZ_SECONDS)
        },
    },
    Step {
        name: "chaos",
        about: "crashes of servers and keepers",
        needs: &[Need::Node, Need::Postgres],
        is_background: false,
        concerns: |changes| changes.affect("rejoin") || changes.affect("rejoin-bench"),
        run: |Context { sh, .. }| {
            pages::build(sh)?;
            chaos::check(sh, CHAOS_KILLS)
        },
    },
    Step {
        name: "client",
        about: "the tests of the client and the pages",
        needs: &[Need::Node],
        is_background: false,
        concerns: |changes| changes.touch(&TYPESCRIPT) || changes.touch(&[GOLDEN]),
        run: |Context { sh, .. }| {
            pages::build(sh)?;
            Ok(cmd!(sh, "npm test").run()?)
        },
    },
    Step {
        name: "browser",
        about: "the pages in a browser, against the server",
        needs: &[Need::Node, Need::Browser],
        is_background: false,
        concerns: |changes| changes.affect("rejoin") || changes.touch(&TYPESCRIPT),
        run: browser,
    },
];

fn clippy(Context { sh, packages }: &Context<'_>) -> anyhow::Result<()> {
    pages::build(sh)?;
    // One run with all features: a second run with other features would compile the dependencies
    // twice. The `rust` step compiles the code without them.
    let options = ["--all-targets", "--all-features"];
    cmd!(sh, "cargo clippy {packages...} {options...} -- --deny warnings").run()?;
    Ok(())
}

fn rust(Context { sh, packages }: &Context<'_>) -> anyhow::Result<()> {
    pages::build(sh)?;
    // Many tests wait for a deadline, so that one per processor would leave processors idle.
    let threads = 2 * thread::available_parallelism()?.get();
    Ok(cmd!(sh, "cargo test {packages...}").env("RUST_TEST_THREADS", threads.to_string()).run()?)
}

fn doc(Context { sh, packages }: &Context<'_>) -> anyhow::Result<()> {
    pages::build(sh)?;
    // The features are those of the `clippy` step, whose dependencies are reused.
    cmd!(sh, "cargo doc {packages...} --no-deps --all-features")
        .env("RUSTDOCFLAGS", "--deny warnings")
        .run()?;
    Ok(())
}

fn browser(Context { sh, .. }: &Context<'_>) -> anyhow::Result<()> {
    pages::build(sh)?;
    // A release build would compile every dependency a second time. The development build reads
    // the pages from `web/dist` instead of embedding them.
    let binary = packages::build_for_tests(sh)?.join("debug/rejoin");
    cmd!(sh, "npm run test:browser").env("REJOIN_BIN", binary).run()?;
    Ok(())
}
