//! Stops a keeper from a process other than its server.

use std::{
    io::{self, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{PidfdFlags, Signal, kill_process, pidfd_open},
};

use crate::{
    Directory,
    directory::LEADER,
    session::Leader,
    wire::{Message, Request, header},
};

/// The time within which the program must end after SIGHUP and the keeper record it. After that,
/// the keeper is killed.
const STOP: Duration = Duration::from_secs(5);
/// The maximum length of the file that names the program's session, in bytes.
const MAX_LEADER_BYTES: u64 = 4096;
/// The time within which a keeper's process must end after it has closed its connections.
const END: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

impl Directory {
    /// Ends the program and the keeper, if one is running, and kills what is left of the program.
    ///
    /// Blocks until both have ended, but at most 7 s.
    ///
    /// # Errors
    /// If the directory fails its [check](Self::check), or if the keeper cannot be reached or does
    /// not end.
    pub fn stop(&self) -> io::Result<()> {
        self.check()?;
        if self.has_keeper()? {
            let stream = self.connect()?;
            let keeper = rustix::net::sockopt::socket_peercred(&stream)?.pid;
            let process = pidfd_open(keeper, PidfdFlags::empty())?;
            let has_ended = || {
                let mut fds = [PollFd::new(&process, PollFlags::IN)];
                poll(&mut fds, Some(&END)).is_ok_and(|ready| ready > 0)
            };

            // Fails if the keeper does not read. It is then killed.
            let _ = hang_up(stream);
            if !has_ended() {
                kill_process(keeper, Signal::KILL)?;
                if !has_ended() {
                    return Err(io::Error::other("the keeper does not end"));
                }
            }
        }
        self.kill_session();
        Ok(())
    }

    /// Kills the keeper at the other end of a connection.
    ///
    /// # Errors
    /// If it has ended already.
    pub fn kill_keeper(stream: impl AsFd) -> io::Result<()> {
        let peer = rustix::net::sockopt::socket_peercred(stream)?;
        Ok(kill_process(peer.pid, Signal::KILL)?)
    }

    /// Kills what is left of the program after its keeper has ended.
    pub fn kill_session(&self) {
        if let Some(leader) = self.read_leader() {
            leader.kill_session();
        }
    }

    /// Returns `true` if the program was started before the last restart of the machine.
    #[must_use]
    pub fn is_of_earlier_boot(&self) -> bool {
        self.read_leader().is_some_and(|leader| leader.is_of_earlier_boot())
    }

    fn read_leader(&self) -> Option<Leader> {
        let file = self.open(LEADER).ok()?;
        serde_json::from_reader(file.take(MAX_LEADER_BYTES)).ok()
    }
}

fn hang_up(mut stream: UnixStream) -> io::Result<()> {
    let mut bytes = header().to_vec();
    Request::HangUp.encode(&mut bytes);
    stream.set_write_timeout(Some(STOP))?;
    stream.write_all(&bytes)?;

    // Reads until the keeper closes, because closing a connection with unread bytes would reset it.
    stream.set_read_timeout(Some(STOP))?;
    io::copy(&mut stream, &mut io::sink())?;
    Ok(())
}
