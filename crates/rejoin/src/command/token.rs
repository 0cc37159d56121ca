//! `rejoin token`.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context;
use rejoin_core::Caps;
use rejoin_gateway::Claims;
use rejoin_protocol::UserId;

use crate::command::{ConfigFile, say, secret};

/// The arguments of `rejoin token`.
#[derive(Debug, clap::Args)]
pub(crate) struct Token {
    /// Whom the token is for.
    #[arg(long, value_name = "NAME", value_parser = UserId::new)]
    user: UserId,
    /// A JSON file with what it allows [default: `auth.default_caps` of the server].
    #[arg(long, value_name = "FILE")]
    caps: Option<PathBuf>,
    /// How long it is valid, such as 30m, 12h or 7d.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    ttl: Duration,
    #[command(flatten)]
    file: ConfigFile,
}

impl Token {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let config = self.file.load(None)?;
        let signer = secret::open(&config).with_context(|| {
            let own = config.auth.sources().is_empty();
            if own { "the server's secret is made at its first start" } else { "no token" }
        })?;
        let caps = self.caps.as_ref().map(read_caps).transpose()?;
        let claims = Claims {
            caps,
            iss: config.auth.issuer,
            aud: config.auth.audience.map(Into::into),
            ..secret::claims(self.user.clone(), self.ttl.as_secs())
        };
        Ok(say(&signer.sign(&claims)?)?)
    }
}

fn read_caps(path: &PathBuf) -> anyhow::Result<Caps> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}
