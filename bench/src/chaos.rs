//! `chaos keeper`: crashes of servers and keepers while a terminal prints and a user types.
//!
//! The program computes its output from a seed, and so do the viewers, which compare each byte. It
//! records the keys that it reads; they are compared at the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use fastrand::Rng;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::clock;
use crate::http::HttpClient;
use crate::report::{middle_and_max, print_header, print_line};
use crate::server::{Server, profile, program};

pub(crate) mod output;
mod process;
pub(crate) mod store;
mod viewer;

use output::Output;
use process::{has_ended, processes_of, wait_until};
use viewer::{Seen, Terminal};

/// Viewers of the terminal.
const VIEWERS: usize = 5;
/// The longest pause before a kill.
const MAX_PAUSE_MS: u64 = 1200;
/// The time until viewers must be back after the start of a server.
const MAX_RETURN: Duration = Duration::from_secs(1);
/// The time of a clean stop.
const STOP: Duration = Duration::from_secs(30);
/// Short programs: their names, and their exit codes. Most end while no server runs.
const EXITS: [(&str, u8); 4] = [("exit0", 0), ("exit1", 1), ("exit42", 42), ("exit255", 255)];
/// The rows of the terminal above the cursor's.
const SCREEN_LINES: u64 = 23;
/// A program whose processes survive a hangup; it writes their ids.
const VICTIM: &str = "trap '' HUP TERM; sleep 9000 & echo $$ $! >victim.draft; \
                      mv victim.draft victim; while :; do wait; done";

/// The amount of work.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Kills of each scenario
    #[arg(long, default_value_t = 50)]
    kills: u64,
    /// The seed of a run to repeat; only the times of the kills differ
    #[arg(long)]
    seed: Option<u64>,
    /// Another build of rejoin for the scenario `upgrade` [default: a copy of this build]
    #[arg(long, value_name = "FILE")]
    other: Option<PathBuf>,
    /// Run only these scenarios
    #[arg(long, value_enum)]
    only: Vec<Scenario>,
}

/// The processes that are killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Scenario {
    /// The server
    Server,
    /// The keeper of another terminal
    Keeper,
    /// Both at the same moment
    Both,
    /// The server, stopped or killed in turn; another build takes over
    Upgrade,
}

/// The observations of one scenario.
#[derive(Default)]
struct Report {
    kills: u64,
    exits: u64,
    /// The nanoseconds from each kill to the start of the next server.
    downtimes: Vec<u64>,
}

/// A server whose processes are killed.
struct Chaos {
    server: Server,
    scenario: Scenario,
    random: Rng,
    /// The builds of rejoin, which run in turn.
    builds: Vec<PathBuf>,
    report: Report,
}

/// Runs each scenario and prints its row.
///
/// # Errors
/// A byte, a key or an exit code is wrong, or a client is not back in time.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let seed = options.seed.unwrap_or_else(|| clock::now() % 1_000_000);
    print_line(format_args!(
        "{} kills per scenario, {VIEWERS} viewers and a typist of a terminal that prints without \
         end; seed {seed}\n",
        options.kills
    ));
    print_header(
        "killed | kills | MB compared | bytes wrong | resumed | snapshots | MB skipped | keys | \
         keys wrong | exit codes right | server down p50, max | viewers back p50, max",
    );
    for scenario in [Scenario::Server, Scenario::Keeper, Scenario::Both, Scenario::Upgrade] {
        if options.only.is_empty() || options.only.contains(&scenario) {
            let run =
                || Chaos::start(scenario, seed, options.other.as_deref())?.run(options.kills, seed);
            run().with_context(|| format!("{scenario:?}"))?;
        }
    }
    Ok(())
}

impl Chaos {
    fn start(scenario: Scenario, seed: u64, other: Option<&Path>) -> anyhow::Result<Self> {
        let mut profiles = format!(
            "{}[profiles.victim]\ncommand = [\"sh\", \"-c\", \"\"\"{VICTIM}\"\"\"]\n",
            profile("flood", &["chaos-program", &seed.to_string(), "."])?
        );
        for (name, code) in EXITS {
            let script = format!("sleep 0.0{code}; exit {code}");
            profiles += &format!("[profiles.{name}]\ncommand = [\"sh\", \"-c\", \"{script}\"]\n");
        }
        let server = Server::rejoin(&profiles)?;

        let ours = program()?;
        let mut builds = vec![ours.clone()];
        if scenario == Scenario::Upgrade {
            let copy = server.folder()?.join("other-build");
            fs::copy(other.unwrap_or(&ours), &copy).context("--other")?;
            builds.push(copy);
        }
        let random = Rng::with_seed(seed);
        Ok(Self { server, scenario, random, builds, report: Report::default() })
    }

    fn run(mut self, kills: u64, seed: u64) -> anyhow::Result<()> {
        let session = self.create("flood")?;
        let terminal = Terminal {
            endpoint: self.server.endpoint("/ws"),
            session,
            output: Output::new(seed),
            starts: AtomicU64::new(0),
            started: AtomicU64::new(clock::now()),
            is_ending: AtomicU64::new(0),
        };

        let (seen, keys) = thread::scope(|scope| {
            let viewers: Vec<_> = (0..VIEWERS).map(|_| scope.spawn(|| terminal.view())).collect();
            let typist = scope.spawn(|| terminal.type_keys());
            let killed = (0..kills).try_for_each(|_| self.crash(&terminal));
            // Also after an error, so that the clients end.
            terminal.is_ending.fetch_max(1, Ordering::AcqRel);
            killed?;

            let seen: anyhow::Result<Vec<Seen>> = viewers
                .into_iter()
                .map(|viewer| viewer.join().ok().context("a viewer panicked")?)
                .collect();
            let keys = typist.join().ok().context("the typist panicked")?.context("the typist")?;
            anyhow::Ok((seen.context("a viewer")?, keys))
        })?;
        self.check(&terminal, &seen, keys)
    }

    /// Starts a terminal. Returns the id of its session.
    fn create(&self, profile: &str) -> anyhow::Result<String> {
        let create = json!({"kind": "terminal", "profile": profile, "cwd": self.server.folder()?});
        let created = self.server.connect()?.request("create_session", &create)?;
        Ok(created["session"]["id"].as_str().context("no session")?.to_owned())
    }

    /// Kills once, and checks the terminals other than that of the viewers.
    fn crash(&mut self, terminal: &Terminal) -> anyhow::Result<()> {
        clock::pause(Duration::from_millis(self.random.u64(..MAX_PAUSE_MS)));
        let (profile, code) = EXITS[self.random.usize(..EXITS.len())];
        let short = self.create(profile)?;
        let victim = matches!(self.scenario, Scenario::Keeper | Scenario::Both)
            .then(|| self.create_victim())
            .transpose()?;

        if let Some(victim) = &victim {
            kill_process(victim.keeper, Signal::KILL)?;
        }
        if self.scenario != Scenario::Keeper {
            self.crash_server(terminal)?;
        }
        self.report.kills += 1;

        if let Some(victim) = victim {
            self.check_victim(&victim)?;
        }
        let info = self.wait_for_end(&short)?;
        ensure!(info["exit"]["code"] == code, "exit code {code} became {}", info["exit"]);
        self.report.exits += 1;
        self.close(&short)
    }

    fn crash_server(&mut self, terminal: &Terminal) -> anyhow::Result<()> {
        let killed = clock::now();
        let number = terminal.starts.load(Ordering::Acquire) + 1;
        if self.scenario == Scenario::Upgrade && number.is_multiple_of(2) {
            self.server.terminate()?;
            let status = self.server.wait(STOP)?.context("the server does not stop")?;
            ensure!(status.success(), "the server stopped with {status}");
        } else {
            self.server.kill()?;
        }

        let build = &self.builds[usize::try_from(number)? % self.builds.len()];
        self.server.restart_as(build)?;
        let started = clock::now();
        self.report.downtimes.push(started - killed);
        terminal.started.store(started, Ordering::Release);
        terminal.starts.store(number, Ordering::Release);
        Ok(())
    }

    fn http(&self) -> anyhow::Result<HttpClient> {
        Ok(HttpClient::new(self.server.address, self.server.token()?))
    }

    /// Waits until a program's exit is known. Returns its session.
    fn wait_for_end(&self, session: &str) -> anyhow::Result<Value> {
        let http = self.http()?;
        let due = clock::after(process::TIMEOUT);
        loop {
            let info: Value = serde_json::from_str(&http.get(&format!("/sessions/{session}"))?)?;
            if info["status"] == "terminated" || info["status"] == "error" {
                return Ok(info);
            }
            ensure!(clock::now() < due, "session {session} does not end: {info}");
            clock::pause(process::POLL);
        }
    }

    fn close(&self, session: &str) -> anyhow::Result<()> {
        self.http()?.delete(&format!("/sessions/{session}")).context("cannot close a session")
    }

    /// Starts a program whose keeper will be killed.
    fn create_victim(&self) -> anyhow::Result<Victim> {
        let file = self.server.folder()?.join("victim");
        let _ = fs::remove_file(&file);
        let session = self.create("victim")?;
        wait_until("the victim runs", || file.exists())?;

        let ids = fs::read_to_string(&file)?;
        let processes = ids.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let keeper = processes_of(&session)?;
        let keeper = keeper.first().and_then(|id| Pid::from_raw(*id));
        Ok(Victim { keeper: keeper.context("no keeper")?, processes, session })
    }

    /// Checks that a killed keeper is a clear end, and that nothing of its session is left.
    fn check_victim(&self, victim: &Victim) -> anyhow::Result<()> {
        let info = self.wait_for_end(&victim.session)?;
        let is_clear = info["status"] == "error" && info["reason"].as_str().is_some();
        ensure!(is_clear, "a killed keeper became {info}");
        wait_until("the processes of a killed keeper end", || {
            victim.processes.iter().all(|id| has_ended(*id))
        })?;
        self.close(&victim.session)
    }

    /// Compares what the clients received with what the program did, and prints the row.
    fn check(&self, terminal: &Terminal, seen: &[Seen], keys: u64) -> anyhow::Result<()> {
        let folder = self.server.folder()?;
        let total: u64 = fs::read_to_string(folder.join(output::TOTAL_FILE))?.parse()?;
        for viewer in seen {
            ensure!(viewer.next == total, "a viewer ended at {} of {total} bytes", viewer.next);
        }
        output::check_keys(folder, keys)?;
        self.check_screen(terminal, total)?;
        self.close(&terminal.session)?;
        let terminals = folder.join("data/terminals").display().to_string();
        wait_until("all keepers end", || {
            processes_of(&terminals).is_ok_and(|left| left.is_empty())
        })?;

        let mut returns: Vec<_> = seen.iter().flat_map(|viewer| viewer.returns.clone()).collect();
        let longest = returns.iter().copied().max().unwrap_or_default();
        ensure!(
            longest <= clock::span(MAX_RETURN),
            "a viewer was back after {:?}",
            Duration::from_nanos(longest)
        );
        let sum = |part: fn(&Seen) -> u64| seen.iter().map(part).sum::<u64>();
        let mut downtimes = self.report.downtimes.clone();
        print_line(format_args!(
            "{:?} | {} | {} | 0 | {} | {} | {} | {keys} | 0 | {} | {} | {}",
            self.scenario,
            self.report.kills,
            sum(|seen| seen.bytes) / 1_000_000,
            sum(|seen| seen.resumed),
            sum(|seen| seen.snapshots),
            sum(|seen| seen.skipped) / 1_000_000,
            self.report.exits,
            middle_and_max(&mut downtimes),
            middle_and_max(&mut returns),
        ));
        Ok(())
    }

    /// Checks the screen that a new viewer gets.
    fn check_screen(&self, terminal: &Terminal, total: u64) -> anyhow::Result<()> {
        let screen = self.http()?.get(&format!("/sessions/{}/screen", terminal.session))?;
        let expected = terminal.output.last_lines(total, SCREEN_LINES);
        ensure!(screen.trim_end() == expected.join("\n"), "the last screen is\n{screen}");
        Ok(())
    }
}

/// A terminal whose keeper is killed.
struct Victim {
    session: String,
    keeper: Pid,
    /// The program and its child.
    processes: Vec<i32>,
}
