//! `rejoin serve`.

use std::{
    io::{self, IsTerminal},
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use rejoin_adapters::{
    EngineScreens, FileJournal, KeeperCommand, KeeperStorage, KeeperTerminals, SqlStore,
    TerminalLimits,
};
use rejoin_core::{
    Caps, Hub, HubConfig, MemoryStore, Scrollback, SessionSettings, Shutdown, Store,
};
use rejoin_gateway::{
    Gateway, GatewayConfig, Signer, Tls, TokenRules, Verifier, WebhookEvents, WebhookMessages,
    encode,
};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};
use tracing::{error, info, warn};

use crate::{
    clock::machine_clock,
    command::{ConfigArgs, credentials, one_line, print_line},
    config::Config,
    data_dir::{self, DataDirLock},
    descriptors::{self, DescriptorBudget},
    environment::environment,
    log::Logging,
    pages,
};

/// File in the data directory with the messages and positions that the next process continues.
const JOURNAL: &str = "journal";
/// Time for the replay of the terminals of an earlier process, before the first connection is
/// served. Terminals that take longer become visible later.
const RECOVERY: Duration = Duration::from_secs(10);
/// Time for sockets, and then again for programs and webhooks, until their tasks are aborted.
/// Their own deadlines are shorter: 4 s for sockets, 6 s for programs and webhooks.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);
/// Time for blocking calls that are under way at the end, such as name look-ups and file writes.
const RUNTIME_DEADLINE: Duration = Duration::from_secs(1);

/// The arguments of `rejoin serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    config: ConfigArgs,
    /// Address to listen on [default: `server.listen` of the configuration, or 127.0.0.1:7400].
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    listen: Option<SocketAddr>,
}

/// The signals that stop the server.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

/// The resources of the gateway that are opened before it starts.
struct SocketResources {
    verifier: Verifier,
    tls: Option<Tls>,
    /// Sockets that may be open at one time.
    max_sockets: usize,
}

impl Serve {
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let config = self.config.load(self.listen)?;
        let descriptors = descriptors::raise_limit(&config.limits)?;
        let logging = Logging::start(&config.log)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;

        let result = runtime.block_on(serve(config, descriptors, &logging));
        // Drops the tasks that were aborted, so that their spans end before the log does.
        runtime.shutdown_timeout(RUNTIME_DEADLINE);

        // The error goes through the log: a direct write to a blocked standard error never returns.
        let error = result.err().map(|error| one_line(&error));
        logging.finish(error.as_deref());
        Ok(if error.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn parse_address(text: &str) -> Result<SocketAddr, &'static str> {
    let problem = "write an IP address with a port, such as 127.0.0.1:7400 or [::1]:7400";
    text.parse().map_err(|_| problem)
}

impl StopSignals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal. Cancel safe: a signal that arrives between two calls is kept.
    async fn recv(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn serve(
    config: Config,
    descriptors: DescriptorBudget,
    logging: &Logging,
) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    // Before anything is read from the directory: another server may still change it.
    let mut lock = DataDirLock::take(&config.server.data_dir)?;
    let (verifier, signer) = credentials::open_verifier(&config, &shutdown)?;
    let tls = config.server.tls()?.map(Tls::open).transpose()?;
    let listen = config.server.listen;
    let listener = TcpListener::bind(listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    lock.record(&config.server.url(address)).context("cannot write to the data directory")?;

    // Registered before the server accepts sockets: an earlier signal would end the process
    // without the messages of streams that are not durable.
    let mut stop = StopSignals::new()?;
    let reload = reload_certificate(signal(SignalKind::hangup())?, tls.clone());

    let (store, database) = open_store(&config).await?;
    let terminals = open_terminals(&config, descriptors, &shutdown)?;
    let hub = create_hub(&config, (terminals, store), &shutdown);
    logging.register_metrics(hub.metrics());
    // Before the first client, which would not find its streams and sessions. Clients wait in the
    // backlog.
    hub.recover(RECOVERY).await?;
    let resources = SocketResources { verifier, tls, max_sockets: descriptors.sockets };
    let gateway = build_gateway(&config, resources, &hub)?.pages(pages::find);
    print_greeting(&config, signer.as_ref(), address)
        .context("cannot print the address of the server")?;

    // Serve until the first signal.
    let metrics = gateway.metrics();
    let readiness = gateway.readiness();
    let serving = gateway.serve(listener);
    tokio::pin!(serving);
    tokio::select! {
        result = &mut serving => return result.context("cannot accept connections any more"),
        () = stop.recv() => {}
        () = reload => {}
    }

    // Fail the readiness check, and keep serving until load balancers have seen it.
    readiness.end();
    let delay = config.server.drain_delay;
    if !delay.is_zero() {
        info!(?delay, "no longer ready; the server stops after the delay");
        tokio::select! {
            result = &mut serving => return result.context("cannot accept connections any more"),
            () = stop.recv() => bail!("stopped at once by a second signal"),
            () = sleep(delay) => {}
        }
    }

    // Stop the tasks, the outer layer first.
    info!("stopping");
    let cut_before = metrics.sockets_cut.get();
    let stopping = async { tokio::join!(shutdown.finish(SHUTDOWN_DEADLINE), serving) };
    let (aborted, served) = tokio::select! {
        stopped = stopping => stopped,
        () = stop.recv() => bail!("stopped at once by a second signal"),
    };
    served.context("cannot stop accepting connections")?;

    // After all tasks: a later append would be missing from the journal.
    hub.save().await?;
    if let Some(database) = database {
        database.close().await;
    }
    let cut = metrics.sockets_cut.get() - cut_before;
    if cut > 0 {
        warn!(cut, "sockets were closed before they received all their data; clients may resume");
    }
    if aborted > 0 {
        bail!("{aborted} tasks were aborted at the deadline");
    }
    info!("stopped");
    Ok(())
}

/// Opens the backend of the terminals.
///
/// # Errors
/// If another user may have placed terminals in their directory, or the system cannot limit their
/// programs.
fn open_terminals(
    config: &Config,
    descriptors: DescriptorBudget,
    shutdown: &Shutdown,
) -> anyhow::Result<KeeperTerminals> {
    let root = data_dir::terminals(&config.server.data_dir)?;
    let groups = config.sessions.limited_groups()?;
    let DescriptorBudget { terminals, soft_before, .. } = descriptors;
    // Not by its path: the file may be replaced by a newer version while the server runs.
    let executable = "/proc/self/exe".into();
    Ok(KeeperTerminals::new(
        environment(),
        KeeperStorage {
            root,
            log_bytes: config.sessions.log_bytes,
            max_bytes_per_user: config.limits.max_disk_bytes_per_user.get().get() as u64,
            max_bytes: config.limits.max_disk_bytes.get().get() as u64,
        },
        KeeperCommand { executable, arguments: &["keeper"], groups },
        TerminalLimits { terminals, open_files: soft_before },
        shutdown.clone(),
    ))
}

/// Opens the store. Its database, if it has one, is to be closed.
///
/// # Errors
/// If the database cannot be used.
async fn open_store(config: &Config) -> anyhow::Result<(Arc<dyn Store>, Option<Arc<SqlStore>>)> {
    let data_dir = &config.server.data_dir;
    let Some(location) = config.store.location(data_dir)? else {
        return Ok((Arc::new(MemoryStore::default()), None));
    };
    let database = Arc::new(data_dir::open_database(data_dir, location).await?);
    Ok((Arc::<SqlStore>::clone(&database), Some(database)))
}

fn create_hub(
    config: &Config,
    (terminals, store): (KeeperTerminals, Arc<dyn Store>),
    shutdown: &Shutdown,
) -> Hub {
    let hub_config = HubConfig {
        profiles: config.profiles(),
        topics: config.topic_rules(),
        sessions: SessionSettings {
            scrollback: Scrollback {
                lines: config.sessions.scrollback_lines,
                bytes: config.sessions.scrollback_bytes,
            },
            idle_timeout: config.sessions.idle_timeout,
            retention: config.sessions.retention.get(),
        },
        prepare: if config.server.compression { rejoin_gateway::prepare } else { |_| {} },
        limits: config.limits.hub_limits(),
        presence_grace: config.limits.presence_grace,
        journal: Arc::new(FileJournal::new(config.server.data_dir.join(JOURNAL))),
        emit_durability: config.emits.durability(),
        store,
        clock: machine_clock(),
        ..HubConfig::new(encode, Arc::new(terminals), Arc::new(EngineScreens))
    };
    Hub::new(hub_config, shutdown)
}

/// Reloads the certificate at each SIGHUP.
///
/// Returns at a SIGHUP if standard error is a terminal: that terminal was closed, and the server
/// stops.
async fn reload_certificate(mut hangup: Signal, tls: Option<Tls>) {
    while hangup.recv().await.is_some() && !io::stderr().is_terminal() {
        match tls.as_ref().map(Tls::reload) {
            Some(Ok(())) => info!("the certificate was reloaded"),
            Some(Err(error)) => {
                error!(%error, "the new certificate is not valid; the old one stays in use");
            }
            None => info!("no certificate is configured; SIGHUP has no effect"),
        }
    }
}

fn build_gateway(
    config: &Config,
    resources: SocketResources,
    hub: &Hub,
) -> anyhow::Result<Gateway> {
    let SocketResources { verifier, tls, max_sockets } = resources;
    let rules = TokenRules {
        issuer: config.auth.issuer.clone(),
        audience: config.auth.audience.clone(),
        leeway: config.auth.leeway,
        default_caps: config.default_caps(),
    };
    let gateway_config = GatewayConfig {
        auth_required: config.auth.required,
        auth_timeout: config.limits.auth_timeout.get(),
        heartbeat: config.limits.heartbeat.get(),
        drain_window: config.limits.drain_window.get(),
        max_message_bytes: config.limits.max_message_bytes.get().get(),
        max_connections: config.limits.max_connections.get().get(),
        allowed_origins: config.server.allowed_origins.clone(),
        allowed_hosts: config.server.allowed_hosts.clone(),
        login_codes: Some(credentials::login_codes(config)),
        tickets: credentials::open_tickets(config)?,
        tls,
        trusted_proxies: config.server.trusted_proxies.clone(),
        max_handshakes: config.limits.max_handshakes.get(),
        max_sockets,
        connections_per_address: config.limits.connections_per_ip.rate(),
        rates: config.limits.rates(),
        max_subscriptions: config.limits.max_subscriptions.get().get(),
        token_in_url: config.auth.token_in_url,
        base_path: config.server.base_path.clone(),
        public_metrics: config.server.public_metrics,
        compression: config.server.compression,
        ..GatewayConfig::new(verifier.with_rules(rules))
    };
    with_webhooks(config, hub, Gateway::new(hub.clone(), gateway_config))
}

/// Registers the webhooks for events and for messages.
fn with_webhooks(config: &Config, hub: &Hub, mut gateway: Gateway) -> anyhow::Result<Gateway> {
    let data_dir = &config.server.data_dir;
    // Before the gateway serves, so that no event is missed.
    if let Some((webhook, kinds)) = &config.webhooks.events {
        let webhook = webhook.open(data_dir).context("webhooks.events")?;
        let events = WebhookEvents::start(webhook, kinds.iter().copied(), hub)?;
        hub.set_handler(Arc::new(events))?;
    }

    for (kind, webhook) in &config.webhooks.messages {
        let webhook = webhook.open(data_dir);
        let webhook = webhook.with_context(|| format!("webhooks.messages.{kind:?}"))?;
        gateway = gateway.handle(kind, WebhookMessages::start(webhook, kind, hub)?)?;
    }
    Ok(gateway)
}

/// Prints the address of the server, and a way to log in.
fn print_greeting(
    config: &Config,
    signer: Option<&Signer>,
    address: SocketAddr,
) -> anyhow::Result<()> {
    // Programs that start the server read the address from this line.
    let url = config.server.url(address);
    announce(&format!("rejoin {} serves {url}", env!("CARGO_PKG_VERSION")))?;
    if !config.auth.required {
        warn!("auth.required is false: every client that reaches this address has access");
    }

    if signer.is_none() {
        if config.auth.audience.is_none() {
            warn!("auth.audience is not set: tokens for other services of the issuer are accepted");
        }
        let issuer = config.auth.issuer.as_deref().unwrap_or("the issuer");
        announce(&format!("Log in: {url}/#login=TOKEN with a token of {issuer}"))?;
    }
    if signer.is_some() && config.auth.hs256_secret_file.is_none() {
        let user = credentials::default_user();
        let code = credentials::login_codes(config).issue(user, Caps::admin())?;
        // In the fragment: browsers send it to no server, so no access log contains the code.
        announce(&format!("Log in: {url}/#login={code}"))?;
    }
    Ok(())
}

/// Prints a line to standard output, unless its reader has closed it.
///
/// A program that starts the server may read the address and then close the pipe.
///
/// # Errors
/// If the output cannot be written for another reason.
fn announce(line: &str) -> io::Result<()> {
    match print_line(line) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::FLUSH_TIMEOUT;

    /// Time to write a journal of a few gigabytes.
    const JOURNAL_TIME: Duration = Duration::from_secs(15);

    #[test]
    fn a_stop_fits_into_the_timeout_of_the_systemd_unit() {
        let unit = include_str!("../../../../packaging/rejoin.service");
        let seconds = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec="));
        let allowed = Duration::from_secs(seconds.unwrap().parse().unwrap());

        let layers = 2 * SHUTDOWN_DEADLINE;
        let longest =
            Config::default().server.drain_delay + layers + RUNTIME_DEADLINE + FLUSH_TIMEOUT;

        assert!(longest + JOURNAL_TIME <= allowed, "{longest:?} of {allowed:?}");
        // The page for operators names the same time.
        let text = format!("{} s", longest.as_secs());
        assert!(include_str!("../../../../docs/running.md").contains(&text), "{text}");
    }
}
