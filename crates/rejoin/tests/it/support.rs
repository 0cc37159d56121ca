//! The binary in a home of its own, and a client of the servers that it starts.

pub(crate) mod hostile;
pub(crate) mod http;

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Lines},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::{
    self, Message, WebSocket,
    client::IntoClientRequest,
    http::HeaderValue,
    protocol::{CloseFrame, frame::coding::CloseCode},
    stream::MaybeTlsStream,
};

/// A home directory in which nothing has run yet.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Where a server without configuration keeps its secret.
    pub(crate) fn secret(&self) -> PathBuf {
        self.path(".local/share/rejoin/secret")
    }

    /// `rejoin` with these arguments, in this directory, with nothing else in its environment.
    pub(crate) fn rejoin(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(env!("CARGO_BIN_EXE_rejoin"));
        command.args(arguments);
        command
    }

    pub(crate) fn program(&self, program: &str) -> Command {
        program_in(self.0.path(), program)
    }

    /// What a command prints that must succeed.
    pub(crate) fn prints(&self, arguments: &[&str]) -> String {
        let output = self.rejoin(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command complains of that must fail.
    pub(crate) fn complains(&self, arguments: &[&str]) -> String {
        complaint(self.rejoin(arguments))
    }

    /// A token of a user with the default rights.
    pub(crate) fn token(&self, user: &str, ttl: &str) -> String {
        self.prints(&["token", "--user", user, "--ttl", ttl]).trim_end().to_owned()
    }

    /// A server on a free port.
    pub(crate) fn serve(&self) -> Server {
        Server::start(self, self.rejoin(&["serve", "--listen", "127.0.0.1:0"]))
    }
}

fn program_in(home: &Path, program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(home)
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("USER", "ann")
        .stdin(Stdio::null());
    command
}

/// The one line on standard error with which a command fails, without its beginning.
pub(crate) fn complaint(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{output:?}");
    let Output { stdout, stderr, .. } = output;
    assert_eq!(String::from_utf8(stdout).unwrap(), "");
    let stderr = String::from_utf8(stderr).unwrap();
    let complaint = stderr.strip_prefix("rejoin: ").and_then(|text| text.strip_suffix('\n'));
    match complaint {
        Some(line) if !line.contains('\n') => line.to_owned(),
        _ => panic!("not one line that begins with `rejoin: `: {stderr:?}"),
    }
}

/// Repeats a check until it holds; panics with the description after the limit.
#[track_caller]
pub(crate) fn until(limit: Duration, description: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {description}");
        thread::yield_now();
    }
}

/// A process that is killed with the test.
pub(crate) struct Running {
    child: Child,
    /// There until nobody reads on.
    pub(crate) stdout: Option<Lines<BufReader<ChildStdout>>>,
    /// There if standard error is a pipe.
    pub(crate) stderr: Option<Lines<BufReader<ChildStderr>>>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().map(|stdout| BufReader::new(stdout).lines());
        let stderr = child.stderr.take().map(|stderr| BufReader::new(stderr).lines());
        Self { child, stdout, stderr }
    }

    /// What it prints, line by line.
    pub(crate) fn lines(&mut self) -> &mut Lines<BufReader<ChildStdout>> {
        self.stdout.as_mut().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Returns the exit code; panics if the process runs on after this time.
    pub(crate) fn wait_within(&mut self, limit: Duration) -> Option<i32> {
        let mut status = None;
        until(limit, "the end of the process", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.and_then(|status| status.code())
    }

    /// Waits for the end; returns the exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that runs.
pub(crate) struct Server {
    process: Running,
    log: PathBuf,
    /// `http://` and its address.
    pub(crate) url: String,
    /// The line with the login link, if it was printed.
    pub(crate) login: String,
    home: PathBuf,
    /// Made when it is first asked for.
    token: OnceLock<String>,
}

impl Server {
    /// Starts a server and waits until it says where it is.
    pub(crate) fn start(home: &Home, mut command: Command) -> Self {
        let log = home.path("log");
        command.stderr(File::create(&log).unwrap());
        let mut process = Running::start(command);
        let mut line = || process.lines().next().expect("another line").unwrap();
        let greeting = line();
        let (_, url) = greeting.split_once("serves ").unwrap();
        let (url, login) = (url.to_owned(), line());
        let (home, token) = (home.0.path().to_owned(), OnceLock::new());
        Self { url, login, process, log, home, token }
    }

    /// An administrator's token, for `ann`.
    pub(crate) fn login_token(&self) -> &str {
        self.token.get_or_init(|| {
            let mut command = program_in(&self.home, env!("CARGO_BIN_EXE_rejoin"));
            command.args(["token", "--user", "ann", "--admin", "--ttl", "30d"]);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
        })
    }

    /// The code of the login link.
    pub(crate) fn login_code(&self) -> &str {
        self.login.split_once("/#login=").unwrap().1
    }

    /// Ends it with a signal; returns its exit code and what it has logged.
    pub(crate) fn stop(self, signal: Signal) -> (Option<i32>, String) {
        self.signal(signal);
        self.wait()
    }

    /// Waits until it has logged this.
    pub(crate) fn until_logged(&self, text: &str) {
        while !fs::read_to_string(&self.log).unwrap().contains(text) {}
    }

    /// Waits for its end; returns its exit code and what it has logged.
    pub(crate) fn wait(mut self) -> (Option<i32>, String) {
        let code = self.process.wait();
        (code, fs::read_to_string(&self.log).unwrap())
    }

    /// Ends it with a signal, within this time; returns its exit code and what it has logged.
    pub(crate) fn stop_within(mut self, limit: Duration, signal: Signal) -> (Option<i32>, String) {
        self.signal(signal);
        let code = self.process.wait_within(limit);
        (code, fs::read_to_string(&self.log).unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// Its memory now and the most that it ever had, in mebibytes.
    pub(crate) fn memory(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    /// Bytes of memory that it has resident (proc(5)).
    pub(crate) fn resident_bytes(&self) -> usize {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.pid())).unwrap();
        let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
        pages * rustix::param::page_size()
    }

    /// Its host and port.
    pub(crate) fn address(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }

    /// A connection that has not said anything yet.
    pub(crate) fn connect(&self) -> Client {
        self.connect_with(&[])
    }

    /// A connection whose request has these headers.
    pub(crate) fn connect_with(&self, headers: &[(&'static str, &str)]) -> Client {
        let url = format!("{}/ws", self.url.replacen("http", "ws", 1));
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        let name = HeaderValue::from_static("rejoin.v1");
        request.headers_mut().insert("sec-websocket-protocol", name);
        Client(tungstenite::connect(request).unwrap().0)
    }

    /// A connection of an administrator.
    pub(crate) fn log_in(&self) -> Client {
        let mut client = self.connect();
        let answer = client.ask("authenticate", json!({ "token": self.login_token() }));
        assert_eq!(answer["payload"]["authenticated"], true, "{answer}");
        client
    }
}

/// A client of `rejoin.v1`.
pub(crate) struct Client(WebSocket<MaybeTlsStream<std::net::TcpStream>>);

impl Client {
    /// Sends a message and returns its answer, passing over what else comes.
    pub(crate) fn ask(&mut self, kind: &str, payload: Value) -> Value {
        self.send(kind, payload);
        self.until(|message| message["reply_to"] == kind)
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers make it in place")]
    pub(crate) fn send(&mut self, kind: &str, payload: Value) {
        let message = json!({ "id": kind, "type": kind, "payload": payload });
        self.0.send(Message::text(message.to_string())).unwrap();
    }

    /// The next message like this.
    pub(crate) fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Message::Text(text) = self.next() {
                let message = serde_json::from_str(&text).unwrap();
                if wanted(&message) {
                    return message;
                }
            }
        }
    }

    pub(crate) fn next(&mut self) -> Message {
        self.0.read().unwrap()
    }

    /// The code with which the server closes, once the goodbye is answered and the line is cut.
    pub(crate) fn close_code(mut self) -> u16 {
        let code = loop {
            if let Message::Close(close) = self.next() {
                break close.expect("a code").code.into();
            }
        };
        while self.0.read().is_ok() {}
        code
    }

    /// Closes with 1000 and waits for the end.
    pub(crate) fn close(mut self) {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        self.0.close(Some(frame)).unwrap();
        while self.0.read().is_ok() {}
    }

    /// A terminal of a profile.
    pub(crate) fn create(&mut self, profile: &str) -> Value {
        self.ask("create_session", json!({ "kind": "terminal", "profile": profile }))
    }
}
