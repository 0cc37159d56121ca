//! `bench abuse`: what peers that misbehave cost the server, and those that behave.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::anyhow;

use crate::machine::{self, Memory};
use crate::report::{Counts, mebibytes, quantile, say};
use crate::server::{Server, Users};

mod attack;
mod flood;
mod raid;
mod victims;

use attack::{Attacker, Kind};
use raid::{Raid, Target};
use victims::{Sample, Victims};

/// The defaults, but for what would keep the attackers out because all have one address.
const LIMITS: &str = "\
max_connections = 10000
connections_per_ip = { count = 0 }
";
/// Attacks that a time-out of 30 s ends take a little longer than that.
const TIMED_OUT_AFTER: Duration = Duration::from_secs(35);
/// Time for the server to put away what the attack took.
const SETTLE: Duration = Duration::from_secs(3);

/// The amount of work.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Connections that behave well
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    victims: u32,
    /// Seconds before each attack
    #[arg(long, default_value_t = 5)]
    before: u64,
    /// Seconds of each attack; those that are ended by a time-out of 30 s take 35
    #[arg(long, default_value_t = 10)]
    during: u64,
    /// These attacks only
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Kind>,
}

/// What an attack has come to.
struct Outcome {
    what: Counts,
    memory: [Memory; 3],
    calm: Sample,
    attacked: Sample,
    server_cpu: [f64; 2],
    attacker_cpu: f64,
}

/// Measures and prints.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    machine::allow_open_files(8000)?;
    say(format_args!(
        "{} connections that behave get 20 messages a second each, and ping once a second; {}",
        options.victims,
        machine::load()
    ));
    say(
        "They, the attacker and the server share the machine's cores: what the attacker spends is \
         missing to the others. Each attack meets a server of its own. Newcomers: a new connection \
         twice a second, from the first packet to `auth_result`.\n",
    );
    say(
        "attack | what came of it | RSS before → peak → after | delivery p50/p99 before → during | \
         ping p50/p99 before → during | newcomers p99 before → during | server CPU before → during \
         | attacker CPU | lost by those who behave",
    );
    say("---|---|---|---|---|---|---|---|---");
    let all = <Kind as clap::ValueEnum>::value_variants();
    for kind in if options.only.is_empty() { all } else { &options.only } {
        let limits = format!("{LIMITS}{}", kind.limits());
        match Server::rejoin_limited(&limits, kind.settings()) {
            Ok(server) => print(*kind, &measure(*kind, &server, options)?),
            Err(error) if error.to_string().contains("unknown field") => {
                say(format_args!(
                    "{kind} | the server has no such limit: {}",
                    kind.limits().trim()
                ));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn measure(kind: Kind, server: &Server, options: &Options) -> anyhow::Result<Outcome> {
    let mut victims = Victims::new(server, usize::try_from(options.victims)?)?;
    let before = server.memory()?;
    let (calm, calm_for) = (server.cpu_time()?, Duration::from_secs(options.before));
    victims.begin_phase()?;
    victims.run(calm_for)?;
    let calm = server.cpu_time()? - calm;

    let during = Duration::from_secs(options.during);
    let during = if kind.is_timed_out() { during.max(TIMED_OUT_AFTER) } else { during };
    let attacker = kind.attacker();
    let token = match &attacker {
        // Of a user with the rights that a token has by default.
        Attacker::Flood(_) => server.tokens(Users::Distinct, 1)?.remove(0),
        Attacker::Raid(_) => server.token()?.to_owned(),
    };
    let target = Target { endpoint: server.endpoint("/ws"), token };
    let stop = AtomicBool::new(false);
    let cpu = server.cpu_time()?;
    victims.begin_phase()?;
    let (ran, spent, raided) = thread::scope(|scope| {
        let raiding = scope.spawn(|| match attacker {
            Attacker::Raid(attack) => Raid::new(target, attack)?.run(&stop),
            Attacker::Flood(flood) => flood.run(&target, &stop),
        });
        let ran = victims.run(during);
        let spent = server.cpu_time();
        stop.store(true, Ordering::Relaxed);
        // They go on: what was sent during the attack may arrive after it.
        let ran = ran.and_then(|()| victims.run(SETTLE));
        (ran, spent, raiding.join())
    });
    let (what, attacker_cpu) = raided.map_err(|_| anyhow!("the attacker panicked"))??;
    ran?;
    let attacked = spent? - cpu;
    let peak = server.memory()?;
    victims.run(SETTLE)?;
    let share = |cpu: Duration, of: Duration| cpu.as_secs_f64() / of.as_secs_f64() * 100.0;
    let [calm_sample, attacked_sample] = victims.into_samples()?;
    Ok(Outcome {
        what,
        memory: [before, peak, server.memory()?],
        calm: calm_sample,
        attacked: attacked_sample,
        server_cpu: [share(calm, calm_for), share(attacked, during)],
        attacker_cpu: share(attacker_cpu, during),
    })
}

fn print(kind: Kind, outcome: &Outcome) {
    let Outcome { what, memory: [before, peak, after], calm, attacked, .. } = outcome;
    let [calm_cpu, attacked_cpu] = outcome.server_cpu;
    let pair = |sample| format!("{} / {}", quantile(sample, 0.5), quantile(sample, 0.99));
    say(format_args!(
        "{kind} | {what} | {} → {} → {} | {} → {} | {} → {} | {} → {} | {calm_cpu:.0} % → \
         {attacked_cpu:.0} % | {:.0} % | {} messages, {} connections, {} of {} newcomers",
        mebibytes(before.resident),
        mebibytes(peak.peak),
        mebibytes(after.resident),
        pair(&calm.deliveries),
        pair(&attacked.deliveries),
        pair(&calm.pings),
        pair(&attacked.pings),
        quantile(&calm.newcomers, 0.99),
        quantile(&attacked.newcomers, 0.99),
        outcome.attacker_cpu,
        attacked.missed,
        attacked.lost,
        attacked.refused,
        attacked.came,
    ));
}
