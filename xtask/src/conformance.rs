//! `cargo xtask conformance`: the Autobahn Testsuite against an echo through our codec.
//!
//! Cases 1 to 10 are about RFC 6455, 12 and 13 about permessage-deflate. All that apply to us are
//! expected to be OK. 13.3 and 13.5 do not and are reported as UNIMPLEMENTED: they offer nothing
//! but a window of 512 bytes for what the server sends. One compressed variant of a frame serves
//! all sockets here, so a socket cannot have a window of its own. RFC 7692 §7.1.2.1 has a server
//! decline such an offer; the connection goes on, uncompressed.

use std::fs;
use std::io::{BufRead as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::json;

use self::results::Results;
use crate::process::{Program, Running};
use crate::steps::target_folder;
use crate::{say, setup};

mod results;
mod suite;

/// All cases that the suite has.
pub const CASES: &str = "1.*,2.*,3.*,4.*,5.*,6.*,7.*,9.*,10.*,12.*,13.*";

/// What the suite calls the endpoint.
const AGENT: &str = "rejoin";

/// Runs these cases and prints a table of their results.
///
/// # Errors
/// When something is missing and cannot be installed from here, or a case fails.
pub fn run(root: &Path, cases: &[String], python: Option<&Path>) -> anyhow::Result<()> {
    setup::ensure(root, &[setup::Need::Rust])?;
    let target = target_folder(root)?;
    let folder = target.join("conformance");
    let suite = suite::ensure(root, &folder, python)?;

    let build = ["cargo", "build", "--release", "-p", "rejoin-websocket", "--example", "echo"];
    Program::new(root, &build).run()?;
    let endpoint = Endpoint::start(root, &target.join("release/examples/echo"))?;

    let report = folder.join("report");
    if report.exists() {
        fs::remove_dir_all(&report).context("cannot remove the last report")?;
    }
    fs::create_dir_all(&report)?;
    let specification = report.join("specification.json");
    let wanted = json!({
        "outdir": report,
        "servers": [{ "agent": AGENT, "url": format!("ws://{}", endpoint.address) }],
        "cases": cases,
        "exclude-cases": [],
    });
    fs::write(&specification, wanted.to_string())?;
    say("running the suite; all cases take ten to twenty minutes");
    let log = report.join("suite.log");
    let announced = follow(Running::from(suite.start(root, &specification)?), &log)?;

    let index = fs::read_to_string(report.join("index.json"))
        .with_context(|| format!("the suite wrote no report, see {}", log.display()))?;
    let results = Results::read(&serde_json::from_str(&index)?, AGENT)?;
    results.print();
    say(format_args!("in full: {}", report.join("index.html").display()));
    if results.len() != announced {
        bail!("{announced} cases were to run, the report has {}", results.len());
    }
    match results.failed() {
        0 => Ok(()),
        1 => bail!("1 case failed"),
        failed => bail!("{failed} cases failed"),
    }
}

/// The endpoint under test.
struct Endpoint {
    address: String,
    _running: Running,
}

impl Endpoint {
    fn start(root: &Path, binary: &Path) -> anyhow::Result<Self> {
        let mut running = Running::from(Program::new(root, &[binary.to_string_lossy()]).start()?);
        let mut address = String::new();
        running.output()?.read_line(&mut address)?;
        if address.is_empty() {
            bail!("the endpoint {} does not listen", binary.display());
        }
        Ok(Self { address: address.trim().to_owned(), _running: running })
    }
}

/// Waits for the suite and tells how far it is; gives how many cases it said it would run.
fn follow(mut suite: Running, log: &Path) -> anyhow::Result<usize> {
    let output = suite.output()?;
    let mut log_file = fs::File::create(log)?;
    let (mut announced, mut group) = (0, String::new());
    for line in output.lines() {
        let line = line?;
        writeln!(log_file, "{line}")?;
        if let Some(rest) = line.strip_prefix("Ok, will run ") {
            let count = rest.split(' ').next().and_then(|count| count.parse().ok());
            announced = count.with_context(|| format!("the suite says {line:?}"))?;
            // With nothing to run it would wait for ever.
            if announced == 0 {
                bail!("the suite has no such case; there are {CASES}");
            }
        }
        if let Some(rest) = line.strip_prefix("Running test case ID ") {
            let case = rest.split(' ').next().unwrap_or_default();
            if results::group(case) != group {
                results::group(case).clone_into(&mut group);
                say(format_args!("cases {group}"));
            }
        }
    }
    let status = suite.wait()?;
    if !status.success() {
        bail!("the suite ended with {status}, see {}", log.display());
    }
    Ok(announced)
}
