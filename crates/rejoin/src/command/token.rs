//! `rejoin token`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use rejoin_core::Caps;
use rejoin_gateway::Claims;
use rejoin_protocol::UserId;

use crate::{
    command::{ConfigArgs, credentials, print_line},
    config::Config,
    data_dir,
};

/// The arguments of `rejoin token`.
#[derive(Debug, clap::Args)]
pub(crate) struct Token {
    /// User that the token or the link logs in [default with --link: the value of $USER].
    #[arg(long, value_name = "NAME", value_parser = UserId::new, required_unless_present = "link")]
    user: Option<UserId>,
    /// JSON file with the user's rights [default: `auth.default_caps` of the server].
    #[arg(long, value_name = "FILE", conflicts_with = "admin")]
    caps: Option<PathBuf>,
    /// Give the user all rights.
    #[arg(long)]
    admin: bool,
    /// Print a link that logs in one browser, once, within 15 minutes. Without --user and --caps
    /// it gives all rights.
    #[arg(long, conflicts_with = "ttl")]
    link: bool,
    /// Base URL of the link [default: the running server's, or that of `server.listen`].
    #[arg(long, value_name = "URL", env = "REJOIN_URL")]
    url: Option<String>,
    /// Lifetime of the token, such as 30m, 12h or 7d.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_lifetime)]
    ttl: Duration,
    #[command(flatten)]
    config: ConfigArgs,
}

impl Token {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let config = self.config.load(None)?;
        // A link needs no signature, but its server must sign tokens and have been started once.
        let signer = credentials::open_signer(&config).context("cannot sign a token")?;
        let caps = if self.admin {
            Some(Caps::admin())
        } else {
            self.caps.as_deref().map(read_caps).transpose()?
        };

        if self.link {
            return Ok(print_line(&self.login_link(&config, caps)?)?);
        }
        let user = self.user.clone().context("--user is missing")?;
        let claims = Claims {
            caps,
            iss: config.auth.issuer,
            aud: config.auth.audience.map(Into::into),
            ..credentials::claims(user, self.ttl.as_secs())
        };
        Ok(print_line(&signer.sign(&claims)?)?)
    }

    /// Issues a login code and returns its link. A running server finds the code in its data
    /// directory.
    fn login_link(&self, config: &Config, caps: Option<Caps>) -> anyhow::Result<String> {
        let caps = caps.unwrap_or_else(|| match self.user {
            None => Caps::admin(),
            Some(_) => config.default_caps(),
        });
        let user = self.user.clone().unwrap_or_else(credentials::default_user);
        let code = credentials::login_codes(config).issue(user, caps);
        let code = code.context("cannot write the login code to the data directory")?;

        let url = self.url.clone().unwrap_or_else(|| data_dir::server_url(config));
        Ok(format!("{}/#login={code}", url.trim_end_matches('/')))
    }
}

fn parse_lifetime(text: &str) -> Result<Duration, &'static str> {
    humantime::parse_duration(text).map_err(|_| "write a duration such as 30m, 12h or 7d")
}

fn read_caps(path: &Path) -> anyhow::Result<Caps> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{} does not contain valid rights", path.display()))
}
