//! Where the configuration comes from, and what is said about mistakes in it.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use toml::{Table, Value};

use crate::config::Config;

/// Read if it is there and no other file is named.
const DEFAULT_FILE: &str = "rejoin.toml";
/// Sections whose keys can be set by `REJOIN_<SECTION>_<KEY>`.
const SECTIONS: &[&str] = &["server", "auth", "limits", "sessions", "log"];

/// What flags say, over all else.
#[derive(Debug, Default)]
pub(crate) struct Overrides {
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) data_dir: Option<PathBuf>,
}

/// Loads the configuration; the environment is given as pairs.
///
/// # Errors
/// One line that says where the mistake is and what is allowed.
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
    let mut config = parse(path, &text)?;
    let mut table: Table = toml::from_str(&text).context("a file that was read can be read")?;
    for (name, value) in env {
        if let Some(key) = Key::of(&name) {
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
    if config.server.data_dir.starts_with("~") {
        bail!("HOME is not set, so `server.data_dir` must be a path without `~`");
    }
    if let [one, another, ..] = config.auth.sources()[..] {
        bail!("`{one}` and `{another}` are both set; tokens are verified by one of them");
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

/// A key of the configuration that a variable names.
struct Key {
    section: &'static str,
    key: String,
}

impl Key {
    fn of(variable: &str) -> Option<Self> {
        let name = variable.strip_prefix("REJOIN_")?.to_ascii_lowercase();
        let key_in =
            |section: &str| Some(name.strip_prefix(section)?.strip_prefix('_')?.to_owned());
        SECTIONS.iter().find_map(|&section| Some(Self { section, key: key_in(section)? }))
    }

    /// Sets it to a value as in the file, or else to the text as it is.
    fn set(&self, table: &mut Table, text: &str) -> Result<Config, toml::de::Error> {
        let as_in_file = toml::from_str::<Table>(&format!("value = {text}"));
        let value = as_in_file.ok().and_then(|mut table| table.remove("value"));
        let as_text = Value::String(text.to_owned());
        let Some(value) = value else { return self.insert(table, as_text) };
        // A name may look like a number.
        self.insert(table, value).or_else(|error| self.insert(table, as_text).or(Err(error)))
    }

    fn insert(&self, table: &mut Table, value: Value) -> Result<Config, toml::de::Error> {
        let section = table.entry(self.section).or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(section) = section {
            section.insert(self.key.clone(), value);
        }
        Value::Table(table.clone()).try_into()
    }
}

fn one_line(message: &str) -> String {
    message.lines().collect::<Vec<_>>().join("; ")
}
