//! `rejoin serve`.

use std::{io::IsTerminal, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use rejoin_adapters::{CheckpointFile, EngineScreens, LocalTerminals, TerminalLimits};
use rejoin_core::{Caps, Hub, HubConfig, Scrollback, SessionSettings, Shutdown};
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
    command::{ConfigFile, environment, say, secret, sentence},
    config::Config,
    descriptors::{self, Descriptors},
    log::Logging,
    pages,
};

/// Where a stopping server leaves what the next one goes on with, in the data directory.
const CHECKPOINT: &str = "checkpoint.json";
/// How long sockets, and then programs, have to end before they are cut. Their own deadlines are
/// shorter: 4 s for sockets, 6 s for programs and webhooks.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);
/// How long look-ups of names and writes of files that are under way may delay the end.
const RUNTIME_DEADLINE: Duration = Duration::from_secs(1);

/// The arguments of `rejoin serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    file: ConfigFile,
    /// Where to listen [default: 127.0.0.1:7400].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

impl Serve {
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let config = self.file.load(self.listen)?;
        let descriptors = descriptors::raise(&config.limits)?;
        let logging = Logging::start(&config.log)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let result = runtime.block_on(serve(config, descriptors, &logging));
        // Tasks that were cut off end here, and their spans with them.
        runtime.shutdown_timeout(RUNTIME_DEADLINE);
        // Through the log: standard error may take nothing, and a complaint would wait for it.
        let complaint = result.err().map(|error| sentence(&error));
        logging.finish(complaint.as_deref());
        Ok(if complaint.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

async fn serve(config: Config, descriptors: Descriptors, logging: &Logging) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    let (verifier, signer) = secret::verifier(&config, &shutdown)?;
    let tls = config.server.tls()?.map(Tls::open).transpose()?;
    let listen = config.server.listen;
    let listener = TcpListener::bind(listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    // Asked for before anything runs, so that a signal is never missed.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let hangup = signal(SignalKind::hangup())?;
    let hung_up = hung_up(hangup, tls.clone());
    let checkpoint = CheckpointFile::new(config.server.data_dir.join(CHECKPOINT));
    let hub = hub(&config, descriptors, &checkpoint, &shutdown);
    logging.count_in(hub.metrics());
    let connect = Connecting { verifier, tls, max_sockets: descriptors.sockets };
    let gateway = gateway(&config, connect, &hub)?.pages(pages::find);
    greet(&config, signer.as_ref(), address).context("cannot say where the server is")?;
    let readiness = gateway.readiness();
    let serving = gateway.serve(listener);
    tokio::pin!(serving);
    tokio::select! {
        result = &mut serving => return result.context("cannot go on accepting connections"),
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = hung_up => {}
    }
    readiness.end();
    let delay = config.server.drain_delay;
    if !delay.is_zero() {
        info!(?delay, "not ready any more; stopping after the delay");
        tokio::select! {
            result = &mut serving => return result.context("cannot go on accepting connections"),
            _ = interrupt.recv() => bail!("stopped at once, by a second signal"),
            _ = terminate.recv() => bail!("stopped at once, by a second signal"),
            () = sleep(delay) => {}
        }
    }
    info!("stopping");
    let cut_before = hub.metrics().sockets_cut.get();
    let stopping = async { tokio::join!(shutdown.finish(SHUTDOWN_DEADLINE), serving) };
    let (left, served) = tokio::select! {
        stopped = stopping => stopped,
        _ = interrupt.recv() => bail!("stopped at once, by a second signal"),
        _ = terminate.recv() => bail!("stopped at once, by a second signal"),
    };
    served.context("cannot stop accepting connections")?;
    // Nothing is appended any more: the next process goes on from here.
    checkpoint.write(&hub.save()).context("cannot write the checkpoint")?;
    let cut = hub.metrics().sockets_cut.get() - cut_before;
    if cut > 0 {
        warn!(cut, "sockets were cut before they had taken all; they may resume");
    }
    if left > 0 {
        bail!("{left} tasks were cut off at the deadline");
    }
    info!("stopped");
    Ok(())
}

/// The hub, going on where the last process stopped if it stopped as it should.
fn hub(
    config: &Config,
    descriptors: Descriptors,
    checkpoint: &CheckpointFile,
    shutdown: &Shutdown,
) -> Hub {
    let saved = checkpoint.take().unwrap_or_else(|error| {
        error!(%error, "the checkpoint cannot be read: topics begin anew");
        None
    });
    let Descriptors { terminals, soft_before, .. } = descriptors;
    let terminals = LocalTerminals::new(environment(), shutdown.clone())
        .with_limits(TerminalLimits { terminals, open_files: soft_before });
    let terminals = Arc::new(terminals);
    let hub_config = HubConfig {
        profiles: config.profiles(),
        topics: config.topic_rules(),
        sessions: SessionSettings {
            scrollback: Scrollback {
                lines: config.sessions.scrollback_lines,
                bytes: config.sessions.scrollback_bytes,
            },
        },
        prepare: if config.server.compression { rejoin_gateway::prepare } else { |_| {} },
        limits: config.limits.of_hub(),
        presence_grace: config.limits.presence_grace,
        ..HubConfig::new(encode, terminals, Arc::new(EngineScreens))
    };
    Hub::restored(hub_config, shutdown, saved)
}

/// Reads again what may change while the server runs, at each SIGHUP; completes when it means
/// that the server's terminal has gone.
async fn hung_up(mut hangup: Signal, tls: Option<Tls>) {
    while hangup.recv().await.is_some() && !std::io::stderr().is_terminal() {
        match tls.as_ref().map(Tls::reload) {
            Some(Ok(())) => info!("the certificate was read again"),
            Some(Err(error)) => error!(%error, "the certificate stays the old one"),
            None => info!("there is no certificate to read again"),
        }
    }
}

/// What sockets need besides the configuration.
struct Connecting {
    verifier: Verifier,
    tls: Option<Tls>,
    max_sockets: usize,
}

fn gateway(config: &Config, connect: Connecting, hub: &Hub) -> anyhow::Result<Gateway> {
    let Connecting { verifier, tls, max_sockets } = connect;
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
        login_codes: Some(secret::login_codes(config)),
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

/// Tells programs of events, and asks them for answers.
fn with_webhooks(config: &Config, hub: &Hub, mut gateway: Gateway) -> anyhow::Result<Gateway> {
    let data_dir = &config.server.data_dir;
    if let Some((target, kinds)) = &config.webhooks.events {
        let webhook = target.open(data_dir).context("webhooks.events")?;
        let events = WebhookEvents::start(webhook, kinds.iter().copied(), hub)?;
        hub.set_handler(Arc::new(events))?;
    }
    for (kind, target) in &config.webhooks.messages {
        let webhook = target.open(data_dir);
        let webhook = webhook.with_context(|| format!("webhooks.messages.{kind:?}"))?;
        gateway = gateway.handle(kind, WebhookMessages::start(webhook, kind, hub)?)?;
    }
    Ok(gateway)
}

/// Says where the server is, and how to log in.
fn greet(config: &Config, signer: Option<&Signer>, address: SocketAddr) -> anyhow::Result<()> {
    let url = config.server.url(address);
    say(&format!("rejoin {} serves {url}", env!("CARGO_PKG_VERSION")))?;
    if !config.auth.required {
        warn!("auth.required is false: whoever reaches this address may use it");
    }
    if signer.is_none() {
        if config.auth.audience.is_none() {
            warn!("auth.audience is not set: the issuer's tokens for other services are good here");
        }
        let issuer = config.auth.issuer.as_deref().unwrap_or("the issuer");
        let link = format!("{url}/#login=TOKEN");
        say(&format!("Log in: {link} with a token of {issuer}"))?;
    }
    if signer.is_some() && config.auth.hs256_secret_file.is_none() {
        let code = secret::login_codes(config).issue(secret::login_user(), Caps::admin())?;
        // After `#`, so that the code is never sent in a request's line.
        say(&format!("Log in: {url}/#login={code}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LOG_DEADLINE;

    /// For a checkpoint of a few gigabytes.
    const CHECKPOINT_TIME: Duration = Duration::from_secs(15);

    #[test]
    fn a_stop_takes_less_than_the_unit_allows() {
        let unit = include_str!("../../../../packaging/rejoin.service");
        let seconds = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec="));
        let allowed = Duration::from_secs(seconds.unwrap().parse().unwrap());
        let layers = 2 * SHUTDOWN_DEADLINE;
        let longest =
            Config::default().server.drain_delay + layers + RUNTIME_DEADLINE + LOG_DEADLINE;
        assert!(longest + CHECKPOINT_TIME <= allowed, "{longest:?} of {allowed:?}");
        let text = format!("{} s", longest.as_secs());
        assert!(include_str!("../../../../docs/operating.md").contains(&text), "{text}");
    }
}
