//! The processes of servers: their start, and the address that they print.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context as _, bail};

/// The prefix of environment variables that configure the server.
const VARIABLES: &str = "REJOIN_";

/// Files in the server's folder.
pub(super) const SETTINGS: &str = "rejoin.toml";
pub(super) const LOG: &str = "log";
pub(super) const DATA: &str = "data";

/// Returns the section of a profile that runs this binary with these arguments.
pub(crate) fn profile(name: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let program = std::env::current_exe()?;
    let command = [&[program.to_str().context("the path is no text")?], arguments].concat();
    Ok(format!("[profiles.{name}]\ncommand = {command:?}\n"))
}

/// Returns the path of rejoin: `cargo` builds both binaries into the same directory.
pub(crate) fn program() -> std::io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("rejoin"))
}

/// Starts rejoin in its folder. Returns its process and its address.
pub(super) fn launch(
    program: &Path,
    folder: &Path,
    listen: &str,
) -> anyhow::Result<(Child, SocketAddrV4)> {
    let mut child = spawn(program, folder, listen)?;
    if let Some(address) = find_address(&mut child)? {
        return Ok((child, address));
    }
    let _ = child.kill();
    let _ = child.wait();
    bail!("rejoin did not start: {}", fs::read_to_string(folder.join(LOG))?.trim());
}

/// Starts rejoin in its folder, without waiting until it serves.
pub(super) fn spawn(program: &Path, folder: &Path, listen: &str) -> anyhow::Result<Child> {
    if !program.is_file() {
        bail!("{} is missing; run `cargo xtask bench`, which builds it", program.display());
    }
    let log = folder.join(LOG);
    let mut command = Command::new(program);
    // The environment of the caller must not change what is measured.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with(VARIABLES) {
            command.env_remove(name);
        }
    }
    command.args(["serve", "--listen", listen]);
    command.arg("--data-dir").arg(folder.join(DATA)).arg("--config").arg(folder.join(SETTINGS));
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    // Appends, because a restarted server shares the log of the one before.
    command.stderr(fs::File::options().create(true).append(true).open(&log)?);

    command.spawn().context("cannot start rejoin")
}

/// Reads lines until one contains the address.
pub(super) fn find_address(child: &mut Child) -> anyhow::Result<Option<SocketAddrV4>> {
    let mut output = BufReader::new(child.stdout.take().context("no output")?);
    loop {
        let mut line = String::new();
        if output.read_line(&mut line)? == 0 {
            return Ok(None);
        }

        if let Some(address) = address(&line) {
            // Keeps reading: a full pipe would block the server.
            thread::spawn(move || output.read_to_end(&mut Vec::new()));
            return Ok(Some(address));
        }
    }
}

fn address(line: &str) -> Option<SocketAddrV4> {
    let (_, url) = line.split_once("serves ")?;
    url.split_once("://")?.1.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_parsed_from_the_start_line() {
        assert_eq!(address("rejoin 0.1.0 serves http://127.0.0.1:7400\n").unwrap().port(), 7400);
        assert!(address("rejoin 0.1.0 serves https://127.0.0.1:7400\n").is_some());
        assert_eq!(address("Log in: http://127.0.0.1:7400/#login=abc"), None);
    }
}
