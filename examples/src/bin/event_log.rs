//! An event log: prints users, sessions, and the output of terminals.
//!
//! One [`EventHandler`] receives the hub's events. It gives each new session a handler of its own
//! before the first byte of the session's output is read.
//!
//! ```console
//! $ cargo run --package rejoin-examples --bin event_log [ADDRESS]
//! ```

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rejoin_adapters::{EngineScreens, LocalTerminals};
use rejoin_core::{
    Caps, EventHandler, Hub, HubConfig, HubEvent, Profile, Session, SessionHandler, Shutdown,
};
use rejoin_gateway::{Claims, Gateway, GatewayConfig, Signer, encode, prepare};
use rejoin_protocol::{Exit, ProfileName, UserId};
use tokio::{net::TcpListener, sync::mpsc};

/// Lines that may wait for standard output. Handlers never block on it.
const MAX_LINES: usize = 1024;

struct EventLog {
    lines: mpsc::Sender<String>,
}

/// The size of one terminal's output.
struct OutputCounter {
    bytes: AtomicUsize,
    lines: mpsc::Sender<String>,
}

impl EventHandler for EventLog {
    fn handle(&self, event: &HubEvent) {
        let line = match event {
            HubEvent::UserOnline { user } => format!("{user} is online"),
            HubEvent::UserOffline { user } => format!("{user} is offline"),
            HubEvent::SessionStarted { session } => {
                format!("{} started a session", session.owner())
            }
            HubEvent::SessionLeft { session } => format!("{} has no viewers", session.id()),
            _ => return,
        };
        // A handler must not block, so a full queue drops the line.
        let _ = self.lines.try_send(line);
    }

    fn session_handler(&self, _session: &Session) -> Option<Arc<dyn SessionHandler>> {
        let (bytes, lines) = (AtomicUsize::new(0), self.lines.clone());
        Some(Arc::new(OutputCounter { bytes, lines }))
    }
}

impl SessionHandler for OutputCounter {
    fn output(&self, _session: &Session, bytes: &[u8]) {
        self.bytes.fetch_add(bytes.len(), Ordering::Relaxed);
    }

    fn exit(&self, session: &Session, _exit: &Exit) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        let _ = self.lines.try_send(format!("{}'s session printed {bytes} bytes", session.owner()));
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the address, the token and the log are its output")]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7402".to_owned());
    let shutdown = Shutdown::new();

    // A hub with one profile, whose program prints a line and exits.
    let hello = vec!["echo".to_owned(), "hello".to_owned()];
    let profile = Profile { command: hello, ..Profile::default() };
    let terminals = Arc::new(LocalTerminals::new(std::iter::empty(), shutdown.clone()));
    let config = HubConfig {
        profiles: [(ProfileName::new("terminal")?, profile)].into(),
        presence_grace: Duration::from_millis(100),
        prepare,
        ..HubConfig::new(encode, terminals, Arc::new(EngineScreens))
    };
    let hub = Hub::new(config, &shutdown);
    let (lines, mut log) = mpsc::channel(MAX_LINES);
    hub.set_handler(Arc::new(EventLog { lines }))?;

    // A gateway that accepts tokens signed with a new secret.
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    let signer = Signer::hs256(&secret)?;
    let gateway = Gateway::new(hub, GatewayConfig::new(signer.verifier()));
    let listener = TcpListener::bind(&address).await?;
    println!("ws://{}/ws", listener.local_addr()?);
    let ann = Claims { caps: Some(Caps::user()), ..Claims::new(UserId::new("ann")?) };
    println!("{}", signer.sign(&ann)?);

    let serving = gateway.serve(listener);
    tokio::pin!(serving);
    loop {
        tokio::select! {
            result = &mut serving => return Ok(result?),
            Some(line) = log.recv() => println!("{line}"),
            result = tokio::signal::ctrl_c() => {
                result?;
                shutdown.finish(Duration::from_secs(10)).await;
                return Ok(());
            }
        }
    }
}
