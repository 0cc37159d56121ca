//! The keys that sign and verify tokens, and the log-ins in the data directory.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use rejoin_core::Shutdown;
use rejoin_gateway::{BrowserSessions, Claims, LoginCodes, Revocations, Signer, Tickets, Verifier};
use rejoin_protocol::UserId;

use crate::{clock::machine_clock, config::Config, environment::variable};

// Names in the data directory.

/// File with the secret that the server creates for itself.
const SECRET: &str = "secret";
/// File with the revocations.
const REVOCATIONS: &str = "revocations.json";
/// File with the browser sessions.
const BROWSER_SESSIONS: &str = "browser-sessions.json";
/// Directory of the tickets.
const TICKETS: &str = "tickets";
/// Directory of the login codes.
const LOGIN_CODES: &str = "login-codes";

/// Opens the verifier of tokens, and the signer if this server signs its own.
///
/// Creates the server's secret if it is missing. This process must have locked the data directory.
pub(super) fn open_verifier(
    config: &Config,
    shutdown: &Shutdown,
) -> anyhow::Result<(Verifier, Option<Signer>)> {
    let directory = &config.server.data_dir;
    let (verifier, signer) = if let Some(url) = config.auth.jwks_url.clone() {
        (Verifier::jwks(url, shutdown)?, None)
    } else if let Some(file) = &config.auth.public_key_file {
        let path = directory.join(file);
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        (Verifier::public_keys(&text).with_context(|| path.display().to_string())?, None)
    } else {
        let signer = open_or_create_signer(config)?;
        (signer.verifier(), Some(signer))
    };

    let revocations = Revocations::open(&directory.join(REVOCATIONS))?;
    let sessions = BrowserSessions::open(&directory.join(BROWSER_SESSIONS))?;
    Ok((verifier.with_revocations(revocations).with_browser_sessions(sessions), signer))
}

/// Opens the tickets in the data directory, which this process must have locked.
pub(super) fn open_tickets(config: &Config) -> anyhow::Result<Tickets> {
    Ok(Tickets::open(&config.server.data_dir.join(TICKETS), machine_clock())?)
}

/// Returns the login codes in the data directory.
pub(super) fn login_codes(config: &Config) -> LoginCodes {
    LoginCodes::new(&config.server.data_dir.join(LOGIN_CODES))
}

/// Returns the user of login links without `--user`: `$USER`, or else `owner`.
pub(super) fn default_user() -> UserId {
    variable("USER")
        .and_then(|name| UserId::new(&name).ok())
        .unwrap_or_else(|| UserId::new("owner").expect("a valid user id"))
}

/// Opens the signer. Creates the server's own secret if the configuration names none.
fn open_or_create_signer(config: &Config) -> anyhow::Result<Signer> {
    let directory = &config.server.data_dir;
    if config.auth.hs256_secret_file.is_none() {
        let path = directory.join(SECRET);
        if !path.exists() {
            create_secret(directory, &path)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
    }

    open_signer(config)
}

/// Opens the signer with the configured secret, or with the server's own.
///
/// # Errors
/// If the secret cannot be read, or tokens are signed by an issuer only.
pub(super) fn open_signer(config: &Config) -> anyhow::Result<Signer> {
    if let [name @ ("auth.public_key_file" | "auth.jwks_url")] = config.auth.key_settings()[..] {
        bail!("`{name}` is set, so only the issuer signs tokens; get a token from the issuer");
    }

    let file = config.auth.hs256_secret_file.as_deref();
    let path = config.server.data_dir.join(file.unwrap_or(Path::new(SECRET)));
    let secret = fs::read(&path).with_context(|| match file {
        Some(_) => format!("cannot read {}", path.display()),
        None => {
            format!("start the server once to create its secret; cannot read {}", path.display())
        }
    })?;
    Signer::hs256(secret.trim_ascii()).with_context(|| path.display().to_string())
}

/// Returns the claims of a token for `user` that expires after `seconds`.
pub(super) fn claims(user: UserId, seconds: u64) -> Claims {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_secs();
    Claims { exp: Some(now.saturating_add(seconds)), iat: Some(now), ..Claims::new(user) }
}

/// Creates the secret atomically. If another process creates it first, that secret stays.
fn create_secret(directory: &Path, path: &Path) -> io::Result<()> {
    // A random name: a draft that a crash left behind does not block the next attempt.
    let draft = directory.join(format!("{SECRET}.{}", random_hex::<8>()?));
    let written = write_private(&draft, &random_hex::<32>()?);
    // Unlike a rename, a hard link never replaces an existing file.
    let linked = written.and_then(|()| fs::hard_link(&draft, path));
    let _ = fs::remove_file(&draft);

    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Writes a new file that only its owner may read.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn random_hex<const BYTES: usize>() -> io::Result<String> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
