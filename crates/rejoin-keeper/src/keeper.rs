//! The keeper's loop.

use std::{
    fs,
    io::{self, ErrorKind, Read},
    os::unix::net::UnixListener,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{
    Directory,
    child::Child,
    client::Client,
    descriptors,
    directory::check_peer,
    input::InputQueue,
    launch::{self, Started},
    log::{Log, MAX_PAYLOAD_BYTES},
    session::Leader,
    wire::{Exit, Hello, Report, Request, Size},
};

/// The time between SIGHUP and SIGKILL.
const HANG_UP_GRACE: Duration = Duration::from_secs(2);
/// The silence after which output of processes that the program left behind is no longer read.
const LAST_OUTPUT_SILENCE: Duration = Duration::from_millis(50);
/// The maximum time for which their output is read.
const LAST_OUTPUT: Duration = Duration::from_secs(1);
/// The size from which a read is followed by another one, in bytes. Linux returns at most 4095.
const FULL_READ_BYTES: usize = 2048;
/// The size from which no more output is joined, in bytes. More would only delay viewers.
const BATCH_BYTES: usize = 32 * 1024;
/// The maximum time that the keeper waits for its client to receive the exit.
const LAST_REPORT: Duration = Duration::from_secs(5);

/// Runs a keeper in `directory` until its program has ended.
///
/// Reads the [`Launch`](launch::Launch) from standard input and answers on standard output. Must be
/// called in its own process, before any thread is started.
///
/// # Errors
/// If the directory already has a keeper or is not usable. A failure to start the program is not an
/// error, but part of the answer.
pub fn run(directory: &Directory) -> io::Result<()> {
    // Creates a session, so that signals from the server's terminal do not reach the keeper.
    let _ = rustix::process::setsid();
    // Otherwise the name would be `exe` if the executable is started through `/proc/self/exe`.
    let _ = rustix::thread::set_name(c"rejoin-keeper");
    descriptors::close_inherited();
    let launch = launch::read()?;
    let lock = directory.lock()?;
    let listener = directory.listen()?;
    let child = match Child::start(&launch, &directory.name()) {
        Ok(child) => child,
        Err(refusal) => return launch::answer(&refusal),
    };
    // Written before the answer: if the keeper is killed, the server kills the session.
    if let Some(leader) = Leader::of(child.id(), child.group()) {
        fs::write(directory.leader(), serde_json::to_vec(&leader)?)?;
    }
    launch::answer(&Started::Running { pid: child.id() })?;

    let mut keeper = Keeper {
        log: Log::new(directory.log(), launch.log_bytes),
        size: launch.size(),
        child,
        listener,
        client: None,
        input: InputQueue::default(),
        phase: Phase::Running,
        was_hung_up: false,
        buffer: vec![0; MAX_PAYLOAD_BYTES],
    };
    keeper.run()?;
    if let Some(group) = keeper.child.group() {
        // After a hang-up, the group is soon empty. Otherwise processes that the program left
        // behind keep running, and keep the group, until the session is closed.
        if keeper.was_hung_up { group.end() } else { group.remove() }
    }
    drop(lock);
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// SIGHUP was sent.
    HangingUp {
        kill_at: Instant,
    },
    /// The program has ended. Processes that it left behind may still print.
    Ended {
        exit: Exit,
        quiet_at: Instant,
        end_at: Instant,
    },
    /// The exit is recorded, but the client has not received it yet.
    Recorded {
        end_at: Instant,
    },
}

struct Keeper {
    log: Log,
    size: Size,
    child: Child,
    listener: UnixListener,
    client: Option<Client>,
    input: InputQueue,
    phase: Phase,
    /// The server has asked the keeper to end the program.
    was_hung_up: bool,
    buffer: Vec<u8>,
}

/// The sources that are ready after a poll.
struct Ready {
    listener: bool,
    client: bool,
    output: bool,
    input: bool,
    ended: bool,
}

impl Keeper {
    fn run(&mut self) -> io::Result<()> {
        // If this fails, the exit may be missing from the log on a full disk.
        let _ = self.log.reserve();
        // The log records the size at which output begins.
        self.log.resized(self.size);

        loop {
            let ready = self.wait()?;
            if ready.listener {
                self.accept();
            }
            if ready.client {
                self.receive();
            }
            if ready.input {
                self.write_input();
            }
            if ready.output {
                self.read_output();
            }
            if ready.ended && matches!(self.phase, Phase::Running | Phase::HangingUp { .. }) {
                self.child_ended();
            }

            self.check_deadlines();
            self.flush();
            if self.is_over() {
                return Ok(());
            }
        }
    }

    fn wait(&self) -> io::Result<Ready> {
        let is_recorded = matches!(self.phase, Phase::Recorded { .. });
        // While the client lags, the PTY is not read. It fills up, which pauses the program.
        let reads = !is_recorded
            && self.client.as_ref().is_none_or(|client| client.takes_output(self.log.next()));
        let mut pty = PollFlags::empty();
        pty.set(PollFlags::IN, reads);
        pty.set(PollFlags::OUT, !self.input.is_empty());
        let is_running = matches!(self.phase, Phase::Running | Phase::HangingUp { .. });

        let mut fds = vec![PollFd::new(&self.listener, PollFlags::IN)];
        if !pty.is_empty() {
            fds.push(PollFd::new(self.child.pty(), pty));
        }
        if is_running {
            fds.push(PollFd::from_borrowed_fd(self.child.ended(), PollFlags::IN));
        }
        if let Some(client) = &self.client {
            let mut flags = PollFlags::IN;
            flags.set(PollFlags::OUT, client.has_pending());
            fds.push(PollFd::from_borrowed_fd(client.fd(), flags));
        }

        match poll(&mut fds, self.timeout().as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }

        // The same order as above.
        let mut events = fds.iter().map(PollFd::revents);
        let mut next = |is_there: bool| {
            if is_there { events.next().unwrap_or(PollFlags::empty()) } else { PollFlags::empty() }
        };
        let listener = !next(true).is_empty();
        let terminal = next(!pty.is_empty());
        let ended = !next(is_running).is_empty();
        let client = !next(self.client.is_some()).is_empty();
        let is_broken = terminal.intersects(PollFlags::HUP | PollFlags::ERR);
        Ok(Ready {
            listener,
            client,
            output: reads && (is_broken || terminal.contains(PollFlags::IN)),
            input: terminal.intersects(PollFlags::OUT | PollFlags::HUP | PollFlags::ERR),
            ended,
        })
    }

    /// Returns the time until the next deadline.
    fn timeout(&self) -> Option<Timespec> {
        let deadline = match self.phase {
            Phase::Running => return None,
            Phase::HangingUp { kill_at } => kill_at,
            Phase::Ended { quiet_at, end_at, .. } => quiet_at.min(end_at),
            Phase::Recorded { end_at } => end_at,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounds up, so that the deadline has passed when the poll returns.
        Timespec::try_from(left + Duration::from_millis(1)).ok()
    }

    /// Accepts a new client. It replaces the current one, whose server crashed or was replaced.
    fn accept(&mut self) {
        let Ok((stream, _)) = self.listener.accept() else { return };
        if check_peer(&stream).is_err() {
            return;
        }

        self.input.disconnect();
        let hello = Hello {
            pid: self.child.id(),
            oldest: self.log.oldest(),
            next: self.log.next(),
            size: self.size,
            writers: self.input.writers().to_vec(),
        };
        self.client = Client::new(stream, &Report::Hello(hello), self.log.next()).ok();
    }

    fn receive(&mut self) {
        let Some(client) = &mut self.client else { return };
        let Ok(requests) = client.receive(&mut self.buffer) else {
            self.disconnect();
            return;
        };
        for request in requests {
            self.handle(request);
        }
    }

    fn handle(&mut self, request: Request) {
        let Some(client) = &mut self.client else { return };
        let is_running = matches!(self.phase, Phase::Running | Phase::HangingUp { .. });
        match request {
            Request::Follow { offset } => client.follow(&self.log, offset),
            Request::Acknowledge { offset } => client.acknowledge(offset),
            Request::Input(input) => {
                let number = input.number;
                // Reports input as written, because the server waits for the report.
                if !is_running {
                    client.send(&Report::Written { number });
                } else if self.input.push(input).is_err() {
                    client.send(&Report::Refused { number });
                } else {
                    // Writes at once, because the terminal usually has room, which saves a pass of
                    // the loop.
                    self.write_input();
                }
            }
            Request::Cancel { number } => self.input.cancel(number),
            Request::Resize(size) if is_running && size != self.size => {
                self.size = size;
                self.child.resize(size);
                self.log.resized(size);
            }
            Request::Signal { signal } if is_running => self.child.signal(signal),
            Request::HangUp if self.phase == Phase::Running => {
                self.child.hang_up();
                self.was_hung_up = true;
                self.phase = Phase::HangingUp { kill_at: Instant::now() + HANG_UP_GRACE };
            }
            Request::Resize(_) | Request::Signal { .. } | Request::HangUp => {}
        }
    }

    fn write_input(&mut self) {
        let numbers = match self.input.write_to(self.child.pty()) {
            Ok(numbers) => numbers,
            // The terminal was closed. The program's end follows.
            Err(_) => self.input.clear(),
        };
        if let Some(client) = &mut self.client {
            for number in numbers {
                client.send(&Report::Written { number });
            }
        }
    }

    fn read_output(&mut self) {
        let Some(length) = self.read_batch() else { return };
        if length == 0 {
            if let Phase::Ended { quiet_at, .. } = &mut self.phase {
                *quiet_at = Instant::now();
            }
            return;
        }

        if let Phase::Ended { quiet_at, .. } = &mut self.phase {
            *quiet_at = Instant::now() + LAST_OUTPUT_SILENCE;
        }
        // Logs first, so that a server that starts after a crash finds what was not sent.
        let (offset, bytes) = (self.log.next(), &self.buffer[..length]);
        let logged = self.log.output(bytes);
        if let Some(client) = &mut self.client {
            match logged {
                Ok(()) => client.pass_on(&self.log, offset, bytes),
                Err(_) => client.pass_on_unlogged(offset, bytes),
            }
        }
    }

    /// Reads what the program has printed. Returns the length in bytes, 0 at the end, or `None` if
    /// there is nothing to read.
    fn read_batch(&mut self) -> Option<usize> {
        let mut pty = self.child.pty();
        let mut length = 0;
        while length < BATCH_BYTES {
            match pty.read(&mut self.buffer[length..]) {
                Ok(0) => return Some(length),
                Ok(count) => {
                    length += count;
                    // After a short read, the program is waiting, or prints less than a batch.
                    if count < FULL_READ_BYTES {
                        return Some(length);
                    }
                }
                Err(error) if is_temporary(&error) => return (length > 0).then_some(length),
                // Linux reports EIO once no process has the terminal open, and will do so again.
                Err(_) => return Some(length),
            }
        }
        Some(length)
    }

    fn child_ended(&mut self) {
        let exit = self.child.reap();
        // The user closed the terminal, so background processes end with it.
        if self.was_hung_up {
            self.child.kill_session();
        }

        let now = Instant::now();
        let quiet_at = now + LAST_OUTPUT_SILENCE;
        self.phase = Phase::Ended { exit, quiet_at, end_at: now + LAST_OUTPUT };
        let numbers = self.input.clear();
        if let Some(client) = &mut self.client {
            for number in numbers {
                client.send(&Report::Written { number });
            }
        }
    }

    fn check_deadlines(&mut self) {
        let now = Instant::now();
        match self.phase {
            // Repeated, because a process may start another one during the kill.
            Phase::HangingUp { kill_at } if kill_at <= now => {
                self.child.kill_session();
                self.phase = Phase::HangingUp { kill_at: now + HANG_UP_GRACE };
            }
            Phase::Ended { exit, quiet_at, end_at } if quiet_at.min(end_at) <= now => {
                let _ = self.log.exited(exit);
                self.phase = Phase::Recorded { end_at: now + LAST_REPORT };
            }
            _ => {}
        }
    }

    /// Returns `true` once the exit is recorded and, if a client is connected, sent.
    fn is_over(&self) -> bool {
        let Phase::Recorded { end_at } = self.phase else { return false };
        let is_sent = self.client.as_ref().is_none_or(|client| !client.has_pending());
        is_sent || end_at <= Instant::now()
    }

    fn flush(&mut self) {
        if let Some(client) = &mut self.client
            && client.flush(&mut self.log).is_err()
        {
            self.disconnect();
        }
    }

    fn disconnect(&mut self) {
        self.client = None;
        self.input.disconnect();
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
