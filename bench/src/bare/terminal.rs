//! The bare loop with a terminal: passes bytes between one WebSocket and one program.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use rejoin_websocket::{Decoder, Event, Side};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

use super::{READ_BYTES, upgrade};
use crate::frame;

/// Serves one connection after the other until it is killed.
pub(super) fn serve(listener: &TcpListener) -> anyhow::Result<()> {
    loop {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        accept(&mut stream)?;
        let (terminal, mut program) = start()?;

        let result = relay(&stream, terminal);
        program.kill()?;
        program.wait()?;
        result?;
    }
}

fn accept(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut request = Vec::new();
    let mut bytes = [0; READ_BYTES];
    while !request.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut bytes)?;
        anyhow::ensure!(count > 0, "the client sent an incomplete request");
        request.extend_from_slice(&bytes[..count]);
    }

    let request = str::from_utf8(&request).context("the request is no text")?;
    stream.write_all(upgrade::accept(request, false)?.as_bytes())?;
    Ok(())
}

/// Starts the echo program in a new terminal.
fn start() -> anyhow::Result<(File, Child)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = openpt(flags).context("cannot open a terminal")?;
    grantpt(&terminal)?;
    unlockpt(&terminal)?;
    // The peer's end is opened by file descriptor: its path may be in another mount namespace.
    let end = ioctl_tiocgptpeer(&terminal, flags)?;

    let program = Command::new(std::env::current_exe()?)
        .arg("echo-program")
        .stdin(end.try_clone()?)
        .stdout(end)
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start the echo program")?;
    Ok((terminal.into(), program))
}

/// Passes bytes both ways until one side ends.
fn relay(mut stream: &TcpStream, mut terminal: File) -> anyhow::Result<()> {
    let mut scratch = vec![0; READ_BYTES];
    let mut decoder = Decoder::new(Side::Server, READ_BYTES);
    let mut out = Vec::new();
    loop {
        let mut fds = [PollFd::new(&stream, PollFlags::IN), PollFd::new(&terminal, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }

        let [from_client, from_program] = fds.map(|fd| !fd.revents().is_empty());
        if from_client {
            // A reset connection ends like a closed one.
            let count = stream.read(&mut scratch).unwrap_or(0);
            if count == 0 {
                return Ok(());
            }

            let mut feed = decoder.feed(&mut scratch[..count]);
            while let Some(event) = feed.next()? {
                if let Event::Binary(data) = event {
                    terminal.write_all(data)?;
                }
            }
        }
        if from_program {
            let count = terminal.read(&mut scratch).context("the program has ended")?;
            out.clear();
            frame::write_plain(&mut out, frame::BINARY, &[&scratch[..count]]);
            stream.write_all(&out)?;
        }
    }
}
