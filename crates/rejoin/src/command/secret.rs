//! What signs and verifies tokens: the server's own secret, or what the configuration names.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use anyhow::{Context, bail};
use rejoin_core::Shutdown;
use rejoin_gateway::{BrowserSessions, Claims, LoginCodes, Revocations, Signer, Verifier};
use rejoin_protocol::UserId;

use crate::{command::variable, config::Config};

/// The file of the secret that a server makes for itself.
const FILE: &str = "secret";

/// What was revoked, in the data directory.
const REVOCATIONS: &str = "revocations.json";

/// The log-ins of browsers, in the data directory.
const BROWSER_SESSIONS: &str = "browser-sessions.json";

/// The directory of login codes, in the data directory.
const LOGIN_CODES: &str = "login-codes";

/// What verifies tokens, and what signs them if this server can.
pub(super) fn verifier(
    config: &Config,
    shutdown: &Shutdown,
) -> anyhow::Result<(Verifier, Option<Signer>)> {
    let directory = &config.server.data_dir;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("cannot make the data directory {}", directory.display()))?;
    let (verifier, signer) = if let Some(url) = config.auth.jwks_url.clone() {
        (Verifier::jwks(url, shutdown)?, None)
    } else if let Some(file) = &config.auth.public_key_file {
        let path = directory.join(file);
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        (Verifier::public_keys(&text).with_context(|| path.display().to_string())?, None)
    } else {
        let signer = open_or_make(config)?;
        (signer.verifier(), Some(signer))
    };
    let revocations = Revocations::open(&directory.join(REVOCATIONS))?;
    let sessions = BrowserSessions::open(&directory.join(BROWSER_SESSIONS))?;
    Ok((verifier.with_revocations(revocations).with_browser_sessions(sessions), signer))
}

/// The login codes of the server with this configuration.
pub(super) fn login_codes(config: &Config) -> LoginCodes {
    LoginCodes::new(&config.server.data_dir.join(LOGIN_CODES))
}

/// Whoever runs the server.
pub(super) fn login_user() -> UserId {
    variable("USER")
        .and_then(|name| UserId::new(&name).ok())
        .unwrap_or_else(|| UserId::new("owner").expect("a valid user id"))
}

/// The secret that the configuration names, or the server's own, which is made if it is missing.
fn open_or_make(config: &Config) -> anyhow::Result<Signer> {
    let directory = &config.server.data_dir;
    if config.auth.hs256_secret_file.is_none() {
        let path = directory.join(FILE);
        if !path.exists() {
            make(directory, &path).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    open(config)
}

/// The secret that the configuration names, or the server's own.
pub(super) fn open(config: &Config) -> anyhow::Result<Signer> {
    if let [name @ ("auth.public_key_file" | "auth.jwks_url")] = config.auth.sources()[..] {
        bail!("`{name}` is set, so tokens come from the issuer: this server can sign none");
    }
    let file = config.auth.hs256_secret_file.as_deref().unwrap_or(Path::new(FILE));
    let path = config.server.data_dir.join(file);
    let secret = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Signer::hs256(secret.trim_ascii()).with_context(|| path.display().to_string())
}

/// A token for `user`, for so many seconds.
pub(super) fn claims(user: UserId, seconds: u64) -> Claims {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.unwrap_or_default().as_secs();
    Claims { exp: Some(now.saturating_add(seconds)), iat: Some(now), ..Claims::new(user) }
}

/// Writes a new secret whole or not at all; another server that was faster wins.
fn make(directory: &Path, path: &Path) -> io::Result<()> {
    // The draft has a name of its own: one that a crash left behind is in nobody's way.
    let draft = directory.join(format!("{FILE}.{}", random_hex::<8>()?));
    let linked = write(&draft, &random_hex::<32>()?).and_then(|()| fs::hard_link(&draft, path));
    let _ = fs::remove_file(&draft);
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn random_hex<const BYTES: usize>() -> io::Result<String> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
