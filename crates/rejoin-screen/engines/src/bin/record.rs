//! Records programs as `cases/programs.json` describes them, into `cases/recordings`.
//!
//! `cargo run --bin record -- ../cases [NAME...]` needs root and Linux: programs run in namespaces of
//! their own, so no recording shows the processes, the name or the network of the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Shell;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use pty_process::blocking::Command;
use rejoin_screen::{Screen, ScreenSize};
use rejoin_screen_engines::program::{Program, Received};
use rejoin_screen_engines::recording::{Recording, Step};
use serde::Deserialize;

/// A program that prints nothing for this long has reacted to a key.
const SILENCE: Duration = Duration::from_millis(180);
/// The longest wait for the reaction to a key, for programs that print all the time.
const REACTION: Duration = Duration::from_millis(1500);
/// The time that a program gets to start to react.
const START: Duration = Duration::from_millis(1200);
/// The size at which a recording ends.
const MAX_BYTES: usize = 48 * 1024;
/// The folder of the sample files, and the home of the programs.
const FOLDER: &str = "/tmp/demo";

#[derive(Deserialize)]
struct Programs {
    programs: Vec<Script>,
}

/// A program and the keys to type.
#[derive(Deserialize)]
struct Script {
    name: String,
    #[serde(default = "default_size")]
    size: (u16, u16),
    /// A command for the shell.
    run: String,
    /// Keys and new sizes; an empty text only waits.
    #[serde(default)]
    keys: Vec<Key>,
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Key {
    Text(String),
    Size(u16, u16),
}

fn default_size() -> (u16, u16) {
    (80, 24)
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let cases = PathBuf::from(arguments.next().context("usage: record CASES [NAME...]")?);
    let names: Vec<String> = arguments.collect();
    let text = fs::read_to_string(cases.join("programs.json"))?;
    let sample_files = fs::read_to_string(cases.join("sample-files.sh"))?;
    let programs: Programs = serde_json::from_str(&text)?;
    fs::create_dir_all(cases.join("recordings"))?;

    for script in &programs.programs {
        if !names.is_empty() && !names.iter().any(|name| script.name.contains(name.as_str())) {
            continue;
        }

        create_files(&sample_files)?;
        let recording = record(script).with_context(|| script.name.clone())?;
        println!("{}: {} bytes", script.name, recording.len());
        if recording.contains("not found") {
            println!("  a command may be missing");
        }

        recording.write(&file_of(&cases, &script.name))?;
    }

    Ok(())
}

fn file_of(cases: &Path, name: &str) -> PathBuf {
    cases.join("recordings").join(format!("{}.json.gz", name.replace(' ', "-")))
}

fn create_files(script: &str) -> anyhow::Result<()> {
    if Path::new(FOLDER).exists() {
        fs::remove_dir_all(FOLDER)?;
    }

    fs::create_dir_all(FOLDER)?;
    let status =
        Shell::new("sh").args(["-euc", script]).env("HOME", FOLDER).current_dir(FOLDER).status()?;
    ensure!(status.success(), "the sample files were not created");
    Ok(())
}

fn record(script: &Script) -> anyhow::Result<Recording> {
    let (cols, rows) = script.size;
    let size = ScreenSize { cols, rows };
    let mut session = Session {
        program: Program::start(size, command(&script.run))?,
        screen: Screen::new(size, 0),
        recording: Recording { name: script.name.clone(), cols, rows, steps: Vec::new() },
    };

    session.settle(START)?;
    for key in &script.keys {
        match key {
            Key::Text(keys) => session.program.type_in(keys.as_bytes()).unwrap_or_default(),
            &Key::Size(cols, rows) => session.resize(cols, rows)?,
        }

        if !session.settle(REACTION)? {
            break;
        }
    }

    ensure!(!session.recording.is_empty(), "the program printed nothing");
    Ok(session.recording)
}

fn command(run: &str) -> Command {
    let in_namespaces =
        format!("hostname demo; ip link set lo up 2>/dev/null; cd {FOLDER}; exec sh -c \"$0\"");
    let home = std::env::var("HOME").unwrap_or_default();
    Command::new("unshare")
        .args(["--uts", "--net", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-c", &in_namespaces, run])
        .env_clear()
        .envs([
            ("HOME", FOLDER),
            ("LANG", "C.UTF-8"),
            ("LOGNAME", "demo"),
            ("PATH", &format!("/usr/bin:/bin:/usr/sbin:/sbin:/usr/games:{home}/.cargo/bin")),
            ("RUSTUP_HOME", &format!("{home}/.rustup")),
            ("SHELL", "/bin/bash"),
            ("TERM", "xterm-256color"),
            ("COLORTERM", "truecolor"),
            ("USER", "demo"),
        ])
}

/// A program while it is recorded.
struct Session {
    program: Program,
    /// Answers the program's queries.
    screen: Screen,
    recording: Recording,
}

impl Session {
    /// Records output until the program is silent; returns false at the end of the recording.
    fn settle(&mut self, longest: Duration) -> anyhow::Result<bool> {
        let start = Instant::now();
        let mut silence = longest;
        while start.elapsed() < longest {
            match self.program.receive(silence) {
                Received::Output(output) => {
                    self.recording.push(&output);
                    self.screen.feed(&output);
                    let answers = self.screen.take_answers();
                    self.program.type_in(&answers).unwrap_or_default();
                    silence = SILENCE;
                }
                Received::Silence => break,
                Received::End => return Ok(false),
            }

            if self.recording.len() >= MAX_BYTES {
                return Ok(false);
            }
        }

        Ok(true)
    }

    fn resize(&mut self, cols: u16, rows: u16) -> anyhow::Result<()> {
        let size = ScreenSize { cols, rows };
        self.screen.resize(size);
        self.recording.steps.push(Step::Size(cols, rows));
        self.program.resize(size)
    }
}
