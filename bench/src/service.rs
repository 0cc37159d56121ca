//! A program of another project that serves a local port, and ends with its value.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::clock::{self, Watchdog};

/// The time between two attempts to connect.
const POLL: Duration = Duration::from_millis(50);

/// A running program.
pub(crate) struct Service {
    child: Child,
    pub(crate) address: SocketAddrV4,
}

impl Service {
    /// Starts a program with the arguments for a port, and waits until it accepts connections.
    pub(crate) fn start(
        program: &str,
        arguments: impl FnOnce(u16) -> Vec<String>,
    ) -> anyhow::Result<Self> {
        // Programs print their port in forms that differ between versions.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = Command::new(program);
        command.args(arguments(port)).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("cannot start {program}"))?;

        let mut service = Self { child, address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port) };
        let mut watchdog = Watchdog::new();
        while TcpStream::connect(service.address).is_err() {
            if let Some(status) = service.child.try_wait()? {
                bail!("{program} did not start: {status}");
            }
            clock::pause(POLL);
            watchdog.check(0, &format!("connections to {program}"))?;
        }
        Ok(service)
    }

    /// Returns the process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
