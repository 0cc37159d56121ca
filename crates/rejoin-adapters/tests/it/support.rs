//! Programs on PTYs, for tests.

use bytes::Bytes;
use rejoin_adapters::LocalTerminals;
use rejoin_core::{
    Author, Control, Launch, LiveTerminal, SessionRecord, Shutdown, StartError, TerminalEvent,
    Terminals,
};
use rejoin_protocol::{Exit, ProfileName, SessionId, TerminalSize, UserId};
use rustix::process::{Pid, Signal, kill_process};

/// The environment of the server.
pub(crate) const SERVER_ENV: &[(&str, &str)] =
    &[("HOME", "/"), ("PATH", "/usr/local/bin:/usr/bin:/bin")];

/// Returns a launch of a command with default settings.
pub(crate) fn launch(command: &[&str]) -> Launch {
    Launch {
        record: SessionRecord {
            id: SessionId::new("s1").unwrap(),
            owner: UserId::new("ann").unwrap(),
            profile: ProfileName::new("terminal").unwrap(),
            name: None,
            created_at: 0,
            epoch: 1,
            size: (80, 24),
            cwd: None,
            revived_from: None,
        },
        command: command.iter().map(ToString::to_string).collect(),
        env: Vec::new(),
        cwd: None,
        size: TerminalSize::new(80, 24).unwrap(),
        install_hint: None,
    }
}

/// Starts a program with this environment of the server.
pub(crate) async fn start_in(
    server_env: &[(&str, &str)],
    launch: Launch,
) -> Result<Program, StartError> {
    let env = server_env.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let terminals = LocalTerminals::new(env, Shutdown::new());
    Ok(Program { live: terminals.start(launch).await?, output: Vec::new(), last_input: 0 })
}

/// Returns the error of a program that cannot start.
pub(crate) async fn start_error(launch: Launch) -> String {
    start_in(SERVER_ENV, launch).await.err().expect("the start fails").to_string()
}

/// A running program.
pub(crate) struct Program {
    pub(crate) live: LiveTerminal,
    /// The output so far.
    pub(crate) output: Vec<u8>,
    /// The number of the last input.
    last_input: u64,
}

impl Program {
    pub(crate) async fn start(launch: Launch) -> Self {
        start_in(SERVER_ENV, launch).await.unwrap()
    }

    /// Starts a shell that runs a script.
    pub(crate) async fn shell(script: &str) -> Self {
        Self::start(launch(&["sh", "-c", script])).await
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// Reads output until it contains `text`.
    pub(crate) async fn prints(&mut self, text: &str) {
        while !self.text().contains(text) {
            match self.live.events.recv().await {
                Some(TerminalEvent::Output(bytes)) => self.output.extend_from_slice(&bytes),
                other => unreachable!(
                    "expected {text:?}, but the output is {:?}; {other:?}",
                    self.text()
                ),
            }
        }
    }

    /// Reads all output; returns it and the exit.
    pub(crate) async fn end(mut self) -> (String, Exit) {
        loop {
            match self.live.events.recv().await.expect("the exit precedes the end of the events") {
                TerminalEvent::Output(bytes) => self.output.extend_from_slice(&bytes),
                TerminalEvent::Exit(exit) => return (self.text(), exit),
                event => unreachable!("a local terminal has no {event:?}"),
            }
        }
    }

    pub(crate) async fn control(&self, control: Control) {
        self.live.controls.send(control).await.unwrap();
    }

    pub(crate) fn hang_up(&self) {
        self.live.hangup.send_replace(true);
    }

    /// Sends input; returns its number.
    pub(crate) async fn types(&mut self, bytes: impl Into<Bytes>) -> u64 {
        self.last_input += 1;
        self.control(Control::Input {
            number: self.last_input,
            bytes: bytes.into(),
            key: None,
            author: Author::Server,
        })
        .await;
        self.last_input
    }

    /// Returns the number after `name=` in the output.
    pub(crate) fn number(&self, name: &str) -> i32 {
        let text = self.text();
        let (_, rest) = text.split_once(&format!("{name}=")).unwrap();
        rest.lines().next().unwrap().trim().parse().unwrap()
    }
}

/// A process that is killed at the end of the test.
pub(crate) struct KillOnDrop(pub(crate) i32);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.0).expect("a process id");
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Returns an exit with a code.
pub(crate) fn code(code: i32) -> Exit {
    Exit { code: Some(code), signal: None }
}

/// Returns an exit by a signal.
pub(crate) fn signal(name: &str) -> Exit {
    Exit { code: None, signal: Some(name.to_owned()) }
}
