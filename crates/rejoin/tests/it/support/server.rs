//! A running server.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    TestClient, TestHome, TestProcess,
    home::{program_in, successful_output},
};

/// A running server with its log. It is killed when the value is dropped.
pub(crate) struct TestServer {
    process: TestProcess,
    /// The file that standard error is written to.
    log: PathBuf,
    /// The URL of the pages, without a slash at the end.
    pub(crate) url: String,
    /// The second line of the output: how to log in.
    pub(crate) login_line: String,
    home: PathBuf,
    /// Signed at its first use.
    admin_token: OnceLock<String>,
}

impl TestServer {
    /// Starts a server and waits until it has printed its address.
    pub(crate) fn start(home: &TestHome, mut command: Command) -> Self {
        let log = home.path("log");
        command.stderr(File::create(&log).unwrap());
        let mut process = TestProcess::start(command);

        // The first line ends with the URL; the second says how to log in.
        let mut line = || process.lines().next().expect("another line").unwrap();
        let greeting = line();
        let (_, url) = greeting.split_once("serves ").unwrap();
        let (url, login_line) = (url.to_owned(), line());

        let (home, admin_token) = (home.root().to_owned(), OnceLock::new());
        Self { process, log, url, login_line, home, admin_token }
    }

    /// Returns an administrator's token, for the user `ann`.
    pub(crate) fn admin_token(&self) -> &str {
        self.admin_token.get_or_init(|| {
            let mut command = program_in(&self.home, env!("CARGO_BIN_EXE_rejoin"));
            command.args(["token", "--user", "ann", "--admin", "--ttl", "30d"]);
            successful_output(command).trim_end().to_owned()
        })
    }

    /// Returns the code of the login link.
    pub(crate) fn login_code(&self) -> &str {
        self.login_line.split_once("/#login=").unwrap().1
    }

    /// Returns the host and the port.
    pub(crate) fn address(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits until the log contains a text.
    pub(crate) fn wait_for_log(&self, text: &str) {
        while !fs::read_to_string(&self.log).unwrap().contains(text) {}
    }

    /// Waits for the end of the server. Returns its exit code and its log.
    pub(crate) fn wait(mut self) -> (Option<i32>, String) {
        let code = self.process.wait();
        (code, fs::read_to_string(&self.log).unwrap())
    }

    /// Sends a signal and waits for the end of the server. Returns its exit code and its log.
    pub(crate) fn stop(self, signal: Signal) -> (Option<i32>, String) {
        self.signal(signal);
        self.wait()
    }

    /// Sends a signal and waits for the end of the server. Returns its exit code and its log.
    ///
    /// # Panics
    /// After `limit`.
    pub(crate) fn stop_within(mut self, limit: Duration, signal: Signal) -> (Option<i32>, String) {
        self.signal(signal);
        let code = self.process.wait_within(limit);
        (code, fs::read_to_string(&self.log).unwrap())
    }

    /// Returns the resident memory and its peak, in MiB.
    pub(crate) fn memory_mib(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    /// Returns the resident memory in bytes (proc(5)).
    pub(crate) fn resident_bytes(&self) -> usize {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.pid())).unwrap();
        let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
        pages * rustix::param::page_size()
    }

    /// Opens a WebSocket that is not authenticated.
    pub(crate) fn connect(&self) -> TestClient {
        TestClient::connect(&self.url, &[])
    }

    /// Opens a WebSocket with these headers in its request.
    pub(crate) fn connect_with(&self, headers: &[(&'static str, &str)]) -> TestClient {
        TestClient::connect(&self.url, headers)
    }

    /// Opens a WebSocket and authenticates as the administrator `ann`.
    pub(crate) fn connect_as_admin(&self) -> TestClient {
        let mut client = self.connect();
        let result = client.request("authenticate", json!({ "token": self.admin_token() }));
        assert_eq!(result["payload"]["authenticated"], true, "{result}");
        client
    }

    /// Starts a terminal as an administrator. Returns the id of its session.
    pub(crate) fn create_terminal(&self) -> String {
        let created = self.connect_as_admin().create_session("terminal");
        created["payload"]["session"]["id"].as_str().expect("a session").to_owned()
    }

    /// Returns a session as the HTTP API describes it.
    pub(crate) fn session(&self, id: &str) -> Value {
        self.admin_api().get(&format!("/sessions/{id}")).1
    }
}
