//! `rejoin serve`.

use std::{io::IsTerminal, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use rejoin_adapters::{EngineScreens, LocalTerminals};
use rejoin_core::{Caps, Hub, HubConfig, SessionSettings, Shutdown};
use rejoin_gateway::{Claims, Gateway, GatewayConfig, TokenKey, TokenRules, encode};
use rejoin_protocol::UserId;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use crate::{
    command::{ConfigFile, environment, say, secret, variable},
    config::Config,
    pages,
};

/// How long a login link works, in seconds: 30 days.
const LOGIN_SECONDS: u64 = 30 * 24 * 60 * 60;
/// How long sockets and programs have to end before they are cut.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);

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
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let config = self.file.load(self.listen)?;
        let filter = variable("REJOIN_LOG").unwrap_or_else(|| "info".to_owned());
        let filter = EnvFilter::try_new(filter).context(
            "REJOIN_LOG: write a level, such as `debug`, or `rejoin_gateway=debug,info`",
        )?;
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr)
            .init();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(serve(config))
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let key = secret::open_or_make(&config)?;
    let listen = config.server.listen;
    let listener = TcpListener::bind(listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    let shutdown = Shutdown::new();
    // Asked for before anything runs, so that a signal is never missed.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let gateway = gateway(&config, key.clone(), &shutdown).pages(pages::find);
    let counts = gateway.counts();
    greet(&config, &key, address).context("cannot say where the server is")?;
    let serving = gateway.serve(listener);
    tokio::pin!(serving);
    tokio::select! {
        result = &mut serving => return result.context("cannot go on accepting connections"),
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    info!("stopping");
    shutdown.begin();
    // It ends at once, and who comes after it is refused instead of waiting in vain.
    serving.await.context("cannot stop accepting connections")?;
    tokio::select! {
        left = shutdown.finish(SHUTDOWN_DEADLINE) => {
            if left > 0 {
                warn!(left, "tasks were cut off at the deadline");
            }
        }
        _ = interrupt.recv() => warn!("stopped at once"),
        _ = terminate.recv() => warn!("stopped at once"),
    }
    if counts.sockets_cut() > 0 {
        warn!(sockets = counts.sockets_cut(), "sockets were cut before they had taken all");
    }
    Ok(())
}

fn gateway(config: &Config, key: TokenKey, shutdown: &Shutdown) -> Gateway {
    let hub_config = HubConfig {
        profiles: config.profiles(),
        topics: config.topic_rules(),
        sessions: SessionSettings { scrollback_lines: config.sessions.scrollback_lines },
        encode,
        terminals: Arc::new(LocalTerminals::new(environment(), shutdown.clone())),
        screens: Arc::new(EngineScreens),
    };
    let hub = Hub::new(hub_config, shutdown);
    // A terminal is this server's user. Tokens that this server did not sign, and people who
    // need none, get terminals only where the configuration says so.
    let own_tokens = config.auth.required && config.auth.hs256_secret_file.is_none();
    let default = if own_tokens { Caps::user() } else { Caps::topics() };
    let default_caps = config.auth.default_caps.clone().unwrap_or(default);
    let gateway_config = GatewayConfig {
        token_rules: TokenRules {
            issuer: config.auth.issuer.clone(),
            audience: config.auth.audience.clone(),
            default_caps,
        },
        auth_required: config.auth.required,
        auth_timeout: config.limits.auth_timeout.get(),
        heartbeat: config.limits.heartbeat.get(),
        drain_window: config.limits.drain_window.get(),
        max_message_bytes: config.limits.max_message_bytes.get().get(),
        max_connections: config.limits.max_connections.get().get(),
        allowed_origins: config.server.allowed_origins.clone(),
        ..GatewayConfig::new(key)
    };
    Gateway::new(hub, gateway_config)
}

/// Says where the server is, and how to log in if it signs its own tokens.
fn greet(config: &Config, key: &TokenKey, address: SocketAddr) -> anyhow::Result<()> {
    say(&format!("rejoin {} serves http://{address}", env!("CARGO_PKG_VERSION")))?;
    if !config.auth.required {
        warn!("auth.required is false: whoever reaches this address may use it");
    }
    if config.auth.hs256_secret_file.is_none() {
        let token = key.sign(&Claims {
            caps: Some(Caps::admin()),
            iss: config.auth.issuer.clone(),
            aud: config.auth.audience.clone(),
            ..secret::claims(login_user(), LOGIN_SECONDS)
        })?;
        // After `#`, so that the token is never sent in a request's line.
        say(&format!("Log in: http://{address}/#login={token}"))?;
    }
    Ok(())
}

/// Whoever runs the server.
fn login_user() -> UserId {
    variable("USER")
        .and_then(|name| UserId::new(&name).ok())
        .unwrap_or_else(|| UserId::new("owner").expect("a valid user id"))
}
