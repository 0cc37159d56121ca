//! Loads the configuration from its file, the environment and the flags.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use toml::{Table, Value};

use crate::config::Config;

/// The file that is read if no other file is named. It may be missing.
const DEFAULT_FILE: &str = "rejoin.toml";
/// The sections whose keys can be set by `REJOIN_<SECTION>_<KEY>`.
const SECTIONS: &[&str] = &["server", "auth", "limits", "sessions", "store", "log"];

/// Values of flags, which take precedence over the file and the environment.
#[derive(Debug, Default)]
pub(crate) struct Overrides {
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) data_dir: Option<PathBuf>,
}

/// A key of the configuration that an environment variable sets.
struct Key {
    section: &'static str,
    key: String,
}

/// Loads the configuration.
///
/// # Errors
/// If the file cannot be read, or a value is not allowed. The error is one line that names the
/// file and its line, or the variable, and the allowed values.
pub(crate) fn load(
    file: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)>,
    overrides: Overrides,
) -> anyhow::Result<Config> {
    let path = file.unwrap_or(Path::new(DEFAULT_FILE));
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if file.is_none() && error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(anyhow!("cannot read {}: {error}", path.display())),
    };

    // The file alone, then once more per variable: the error names the source of the value.
    let mut config = parse(path, &text)?;
    let mut table: Table = toml::from_str(&text).context("a parsed file parses again")?;
    for (name, value) in env {
        if let Some(key) = Key::parse(&name) {
            config = key
                .set(&mut table, &value)
                .map_err(|error| anyhow!("{name}: {}", one_line(error.message())))?;
        }
    }

    if let Some(listen) = overrides.listen {
        config.server.listen = listen;
    }
    if let Some(data_dir) = overrides.data_dir {
        config.server.data_dir = data_dir;
    }

    // Rules about several keys, which may come from different sources.
    if config.server.data_dir.starts_with("~") {
        bail!("HOME is not set; set `server.data_dir` to a path without `~`");
    }
    if let [one, another, ..] = config.auth.key_settings()[..] {
        bail!("`{one}` and `{another}` are both set; set only one of them");
    }
    if config.sessions.log_bytes > config.limits.max_disk_bytes_per_user.get().get() as u64 {
        bail!(
            "`sessions.log_bytes` is more than `limits.max_disk_bytes_per_user`, so no terminal \
             could start; lower the first or raise the second"
        );
    }
    config.server.tls()?;
    Ok(config)
}

fn parse(path: &Path, text: &str) -> anyhow::Result<Config> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        anyhow!("{}:{line}: {}", path.display(), one_line(error.message()))
    })
}

impl Key {
    /// Parses the name of a variable. Returns `None` if it names no section.
    fn parse(variable: &str) -> Option<Self> {
        let name = variable.strip_prefix("REJOIN_")?.to_ascii_lowercase();
        let key_in =
            |section: &str| Some(name.strip_prefix(section)?.strip_prefix('_')?.to_owned());
        SECTIONS.iter().find_map(|&section| Some(Self { section, key: key_in(section)? }))
    }

    /// Sets the key to a TOML value, or to the text itself if it is not one.
    fn set(&self, table: &mut Table, text: &str) -> Result<Config, toml::de::Error> {
        let as_toml = toml::from_str::<Table>(&format!("value = {text}"));
        let value = as_toml.ok().and_then(|mut table| table.remove("value"));
        let as_text = Value::String(text.to_owned());
        let Some(value) = value else { return self.insert(table, as_text) };

        // The value of a string key may look like a number. If both fail, the error is about the
        // TOML value.
        self.insert(table, value).or_else(|error| self.insert(table, as_text).or(Err(error)))
    }

    fn insert(&self, table: &mut Table, value: Value) -> Result<Config, toml::de::Error> {
        let section = table.entry(self.section).or_insert_with(|| Value::Table(Table::new()));
        // The file was valid, so the section is a table.
        if let Value::Table(section) = section {
            section.insert(self.key.clone(), value);
        }
        Value::Table(table.clone()).try_into()
    }
}

fn one_line(message: &str) -> String {
    message.lines().collect::<Vec<_>>().join("; ")
}
