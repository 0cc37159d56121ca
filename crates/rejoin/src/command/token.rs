//! `rejoin token`.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context;
use rejoin_core::Caps;
use rejoin_gateway::Claims;
use rejoin_protocol::UserId;

use crate::{
    command::{ConfigFile, say, secret},
    config::Config,
};

/// The arguments of `rejoin token`.
#[derive(Debug, clap::Args)]
pub(crate) struct Token {
    /// Whom the token or the link is for [default of --link: whoever runs this].
    #[arg(long, value_name = "NAME", value_parser = UserId::new, required_unless_present = "link")]
    user: Option<UserId>,
    /// A JSON file with what it allows [default: `auth.default_caps` of the server].
    #[arg(long, value_name = "FILE", conflicts_with = "admin")]
    caps: Option<PathBuf>,
    /// Allow everything.
    #[arg(long)]
    admin: bool,
    /// Print a link that logs a browser in, once, within 15 minutes; for an administrator, unless
    /// --user or --caps is given.
    #[arg(long, conflicts_with = "ttl")]
    link: bool,
    /// Where the pages are [default: where the configuration says that the server listens].
    #[arg(long, value_name = "URL", env = "REJOIN_URL")]
    url: Option<String>,
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
        let caps = if self.admin {
            Some(Caps::admin())
        } else {
            self.caps.as_ref().map(read_caps).transpose()?
        };
        if self.link {
            return Ok(say(&self.link(&config, caps)?)?);
        }
        let user = self.user.clone().context("no --user is given")?;
        let claims = Claims {
            caps,
            iss: config.auth.issuer,
            aud: config.auth.audience.map(Into::into),
            ..secret::claims(user, self.ttl.as_secs())
        };
        Ok(say(&signer.sign(&claims)?)?)
    }

    /// Makes a login code, which a server that runs finds in its data directory.
    fn link(&self, config: &Config, caps: Option<Caps>) -> anyhow::Result<String> {
        let default = || match self.user {
            None => Caps::admin(),
            Some(_) => config.default_caps(),
        };
        let caps = caps.unwrap_or_else(default);
        let user = self.user.clone().unwrap_or_else(secret::login_user);
        let code = secret::login_codes(config).issue(user, caps);
        let code = code.context("cannot write the login code to the data directory")?;
        let url = self.url.clone().unwrap_or_else(|| config.server.url(config.server.listen));
        Ok(format!("{}/#login={code}", url.trim_end_matches('/')))
    }
}

fn read_caps(path: &PathBuf) -> anyhow::Result<Caps> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}
