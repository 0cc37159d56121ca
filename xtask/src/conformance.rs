//! `cargo xtask conformance`: the Autobahn Testsuite against an echo server on the codec.
//!
//! Cases 1 to 10 test RFC 6455, 12 and 13 permessage-deflate. All applicable cases must be OK.
//! Cases 13.3 and 13.5 are reported as UNIMPLEMENTED: their only offer is a window of 512 bytes
//! for messages of the server. All sockets share one compressed encoding of a frame, so no socket
//! can have a window of its own. The server declines such an offer (RFC 7692 §7.1.2.1), and the
//! connection continues uncompressed.

use std::fs;
use std::io::{BufRead as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::json;
use xshell::{Shell, cmd};

use self::results::Results;
use crate::child::ChildGuard;
use crate::packages::target_folder;
use crate::{print, setup};

mod results;
mod suite;

/// All cases of the suite.
pub const CASES: &str = "1.*,2.*,3.*,4.*,5.*,6.*,7.*,9.*,10.*,12.*,13.*";

/// The endpoint's name in the report.
const AGENT: &str = "rejoin";

/// Runs the cases and prints a table of their results.
///
/// # Errors
/// If the suite cannot be installed, the build fails, or a case fails.
pub fn run(sh: &Shell, cases: &[String], python: Option<&Path>) -> anyhow::Result<()> {
    setup::ensure(sh, &[setup::Need::Rust])?;
    let target = target_folder(sh)?;
    let folder = target.join("conformance");
    let suite = suite::ensure(sh, &folder, python)?;

    cmd!(sh, "cargo build --release -p rejoin-websocket --example echo").run()?;
    let endpoint = Endpoint::start(sh, &target.join("release/examples/echo"))?;

    // A report of an earlier run must not be taken for a report of this one.
    let report = folder.join("report");
    if report.exists() {
        fs::remove_dir_all(&report).context("cannot remove the last report")?;
    }
    fs::create_dir_all(&report)?;
    let specification = report.join("specification.json");
    let content = json!({
        "outdir": report,
        "servers": [{ "agent": AGENT, "url": format!("ws://{}", endpoint.address) }],
        "cases": cases,
        "exclude-cases": [],
    });
    fs::write(&specification, content.to_string())?;

    print("running the suite; all cases take ten to twenty minutes");
    let log = report.join("suite.log");
    let announced = follow(suite.start(sh, &specification)?, &log)?;

    let index = fs::read_to_string(report.join("index.json"))
        .with_context(|| format!("the suite wrote no report, see {}", log.display()))?;
    let results = Results::read(&serde_json::from_str(&index)?, AGENT)?;
    results.print();
    print(format_args!("full report: {}", report.join("index.html").display()));
    if results.len() != announced {
        bail!("the suite announced {announced} cases, the report has {}", results.len());
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
    _child: ChildGuard,
}

impl Endpoint {
    fn start(sh: &Shell, binary: &Path) -> anyhow::Result<Self> {
        let mut child = ChildGuard::start(cmd!(sh, "{binary}"))?;
        let address = child.first_line()?;
        if address.is_empty() {
            bail!("{} exited before it printed its address", binary.display());
        }
        Ok(Self { address, _child: child })
    }
}

/// Logs the suite's output and prints its progress. Returns the number of announced cases.
fn follow(mut suite: ChildGuard, log: &Path) -> anyhow::Result<usize> {
    let output = suite.output()?;
    let mut log_file = fs::File::create(log)?;
    let (mut announced, mut group) = (0, String::new());

    for line in output.lines() {
        let line = line?;
        writeln!(log_file, "{line}")?;
        if let Some(rest) = line.strip_prefix("Ok, will run ") {
            let count = rest.split(' ').next().and_then(|count| count.parse().ok());
            announced = count.with_context(|| format!("the suite printed {line:?}"))?;
            // With no case to run, the suite would never exit.
            if announced == 0 {
                bail!("the suite has no such case; its cases are {CASES}");
            }
        }
        if let Some(rest) = line.strip_prefix("Running test case ID ") {
            let case = rest.split(' ').next().unwrap_or_default();
            if results::group(case) != group {
                results::group(case).clone_into(&mut group);
                print(format_args!("cases {group}"));
            }
        }
    }

    let status = suite.wait()?;
    if !status.success() {
        bail!("the suite ended with {status}, see {}", log.display());
    }
    Ok(announced)
}
