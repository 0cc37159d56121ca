//! `bench abuse`: the cost of misbehaving peers for the server and for well-behaved clients.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::anyhow;
use clap::ValueEnum as _;

use crate::machine::{self, Memory};
use crate::report::{Counts, mebibytes, print_header, print_line, quantile};
use crate::server::{Server, Users};

mod attack;
mod attacker;
mod flood;
mod victims;

use attack::Kind;
use attacker::Attacker;
use victims::{Sample, Victims};

/// The server's defaults, except for the limit per address: all attackers share one address.
const LIMITS: &str = "\
max_connections = 10000
connections_per_ip = { count = 0 }
";
/// The duration of attacks that the server ends after a timeout of 30 s.
const TIMED_OUT_AFTER: Duration = Duration::from_secs(35);
/// The time for the server to release what the attack used.
const RECOVERY: Duration = Duration::from_secs(3);

/// The amount of work.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Well-behaved connections
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    victims: u32,
    /// Seconds before each attack
    #[arg(long, default_value_t = 5)]
    before: u64,
    /// Seconds of each attack; attacks that a timeout of 30 s ends take 35
    #[arg(long, default_value_t = 10)]
    during: u64,
    /// Run only these attacks
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Kind>,
}

/// The figures of one attack.
struct Outcome {
    counts: Counts,
    /// Before, during and after the attack.
    memory: [Memory; 3],
    before: Sample,
    during: Sample,
    /// Percent of one core, before and during the attack.
    server_cpu: [f64; 2],
    attacker_cpu: f64,
}

/// Runs the attacks and prints a table.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    machine::allow_open_files(8000)?;
    print_line(format_args!(
        "{} well-behaved clients receive 20 messages a second and ping once a second; {}",
        options.victims,
        machine::load()
    ));
    print_line(
        "The clients, the attacker and the server share the cores of the machine. Each attack runs \
         against a new server. New connections: two a second, timed from the first packet to \
         `auth_result`.\n",
    );
    print_header(
        "attack | events | RSS before → peak → after | delivery p50/p99 before → during | \
         ping p50/p99 before → during | new connection p99 before → during | \
         server CPU before → during | attacker CPU | losses of well-behaved clients",
    );

    let kinds =
        if options.only.is_empty() { Kind::value_variants() } else { options.only.as_slice() };
    for kind in kinds {
        let (limits, sections) = kind.settings();
        let server = Server::rejoin_limited(&format!("{LIMITS}{limits}"), sections)?;
        print(*kind, &measure(*kind, &server, options)?);
    }
    Ok(())
}

fn measure(kind: Kind, server: &Server, options: &Options) -> anyhow::Result<Outcome> {
    // The server's figures without an attack.
    let mut victims = Victims::connect(server, options.victims)?;
    let before = server.memory()?;
    let (cpu, calm_for) = (server.cpu_time()?, Duration::from_secs(options.before));
    victims.start_phase()?;
    victims.run(calm_for)?;
    let calm_cpu = server.cpu_time()? - cpu;

    let during = Duration::from_secs(options.during);
    let during = if kind.is_timed_out() { during.max(TIMED_OUT_AFTER) } else { during };
    let sockets = kind.sockets();
    // A user with default rights: an administrator would be exempt from some limits.
    let user = server.tokens(Users::Distinct, 1)?.remove(0);

    // The same figures while the attacker runs on a thread of its own.
    let stop = AtomicBool::new(false);
    let cpu = server.cpu_time()?;
    victims.start_phase()?;
    let (ran, attack_cpu, attacked) = thread::scope(|scope| {
        let attacking = scope.spawn(|| match sockets {
            Some((plan, attack)) => Attacker::new(server.endpoint("/ws"), plan, attack)?.run(&stop),
            None => flood::run(kind, server.address, &user, &stop),
        });
        let ran = victims.run(during);
        // Read before the attacker stops: its last second reads what paused clients left.
        let attack_cpu = server.cpu_time();
        stop.store(true, Ordering::Relaxed);
        // The victims continue, because messages sent during the attack may arrive after it.
        let ran = ran.and_then(|()| victims.run(RECOVERY));
        (ran, attack_cpu, attacking.join())
    });

    let (counts, attacker_cpu) = attacked.map_err(|_| anyhow!("the attacker panicked"))??;
    ran?;
    let attack_cpu = attack_cpu? - cpu;
    let peak = server.memory()?;
    // Memory that the server keeps after the attack.
    victims.run(RECOVERY)?;

    let percent = |cpu: Duration, of: Duration| cpu.as_secs_f64() / of.as_secs_f64() * 100.0;
    let [calm_sample, attacked_sample] = victims.into_samples()?;
    Ok(Outcome {
        counts,
        memory: [before, peak, server.memory()?],
        before: calm_sample,
        during: attacked_sample,
        server_cpu: [percent(calm_cpu, calm_for), percent(attack_cpu, during)],
        attacker_cpu: percent(attacker_cpu, during),
    })
}

fn print(kind: Kind, outcome: &Outcome) {
    let Outcome { counts, memory: [rss_before, peak, rss_after], before, during, .. } = outcome;
    let [cpu_before, cpu_during] = outcome.server_cpu;

    let pair = |sample| format!("{} / {}", quantile(sample, 0.5), quantile(sample, 0.99));
    print_line(format_args!(
        "{kind} | {counts} | {} → {} → {} | {} → {} | {} → {} | {} → {} | {cpu_before:.0} % → \
         {cpu_during:.0} % | {:.0} % | {} messages, {} connections, {} of {} new connections",
        mebibytes(rss_before.resident),
        mebibytes(peak.peak),
        mebibytes(rss_after.resident),
        pair(&before.deliveries),
        pair(&during.deliveries),
        pair(&before.pings),
        pair(&during.pings),
        quantile(&before.arrivals, 0.99),
        quantile(&during.arrivals, 0.99),
        outcome.attacker_cpu,
        during.missed,
        during.lost,
        during.refused,
        during.attempts,
    ));
}
