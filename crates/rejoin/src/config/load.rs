//! Where the configuration comes from, and what is said about mistakes in it.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use toml::{Table, Value};

use crate::config::Config;

/// Read if it is there and no other file is named.
const DEFAULT_FILE: &str = "rejoin.toml";
/// Sections whose keys can be set by `REJOIN_<SECTION>_<KEY>`.
const SECTIONS: &[&str] = &["server", "auth", "limits", "sessions"];

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
        if set(&mut table, &name, &value) {
            let read = Config::deserialize_from(table.clone());
            config = read.map_err(|error| anyhow!("{name}: {}", first_line(error.message())))?;
        }
    }
    if let Some(listen) = overrides.listen {
        config.server.listen = listen;
    }
    if let Some(data_dir) = overrides.data_dir {
        config.server.data_dir = data_dir;
    }
    Ok(config)
}

fn parse(path: &Path, text: &str) -> anyhow::Result<Config> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        anyhow!("{}:{line}: {}", path.display(), first_line(error.message()))
    })
}

/// Sets what a variable names; `false` if it names nothing of the configuration.
fn set(table: &mut Table, name: &str, text: &str) -> bool {
    let Some(name) = name.strip_prefix("REJOIN_").map(str::to_ascii_lowercase) else {
        return false;
    };
    let section = SECTIONS
        .iter()
        .find_map(|section| Some((*section, name.strip_prefix(section)?.strip_prefix('_')?)));
    let Some((section, key)) = section else { return false };
    // Numbers, booleans and lists as in the file; what is none of these is a text.
    let value = toml::from_str::<Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()));
    let entry = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(section) = entry {
        section.insert(key.to_owned(), value);
    }
    true
}

fn first_line(message: &str) -> String {
    message.lines().collect::<Vec<_>>().join("; ")
}

impl Config {
    fn deserialize_from(table: Table) -> Result<Self, toml::de::Error> {
        Value::Table(table).try_into()
    }
}
