//! The end of a terminal: reads the rest of its log, and removes its directory.

use std::{fs, time::Duration};

use rejoin_core::TerminalEvent;
use rejoin_keeper::log::{Cursor, Record};
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep},
};
use tracing::warn;

use super::{Ends, Terminal, hung_up, output_length};

/// The time within which a keeper's process must end after its connection.
const KEEPER_END: Duration = Duration::from_secs(15);
/// The interval at which an ending process is checked.
const POLL: Duration = Duration::from_millis(10);
/// The maximum number of records per read of the log.
const RECORDS: usize = 64;

impl Terminal {
    /// Reads what the keeper logged but did not send, after the keeper has ended. Returns `false`
    /// if the server stops.
    pub(super) async fn read_rest(&mut self, ends: &mut Ends) -> bool {
        if self.has_ended {
            return true;
        }
        // The keeper may still be writing. The log is complete once its process has ended.
        let stop = self.shared.shutdown.clone();
        tokio::select! {
            () = self.keeper_ended() => {}
            () = stop.begun() => return false,
        }

        let mut cursor = Cursor::new(self.directory.log(), self.next);
        while !self.has_ended {
            let read = spawn_blocking(move || read_records(cursor));
            let Ok((next_cursor, records)) = read.await else { break };
            cursor = next_cursor;
            if records.is_empty() {
                break;
            }
            for record in records {
                self.queue_record(record);
            }
            self.deliver(ends).await;
        }

        // Without an exit in the log, the keeper was killed. Kills the program that it left behind.
        if !self.has_ended {
            let directory = self.directory.clone();
            let end = move || {
                directory.kill_session();
                directory.is_of_earlier_boot()
            };
            let is_of_earlier_boot = spawn_blocking(end).await.unwrap_or_default();
            self.end_replay();
            let cause = if is_of_earlier_boot {
                "the machine was restarted"
            } else {
                "its keeper, the process that held the terminal, was ended"
            };
            self.queue(TerminalEvent::Lost { reason: format!("the program was lost: {cause}") });
        }
        self.deliver(ends).await;
        true
    }

    /// Sends all pending events.
    async fn deliver(&mut self, ends: &Ends) {
        while let Some(event) = self.pending.pop_front() {
            self.pending_bytes -= output_length(&event);
            if ends.events.send(event).await.is_err() {
                return self.discard();
            }
        }
    }

    /// Waits until no keeper is running, at most 15 s. A keeper that another server has taken over
    /// keeps running.
    async fn keeper_ended(&mut self) {
        let deadline = Instant::now() + KEEPER_END;
        loop {
            // Reaps the keeper: a zombie holds no lock but still has a process id. The lock is
            // released before the process ends.
            let runs = self.process.as_mut().map(|process| matches!(process.try_wait(), Ok(None)));
            let has_ended = !runs.unwrap_or(false) && !self.directory.has_keeper().unwrap_or(false);
            if has_ended || Instant::now() >= deadline {
                return;
            }
            sleep(POLL).await;
        }
    }

    /// Waits until the session is closed, and removes its directory. If the server stops, leaves
    /// the directory for the next process.
    pub(super) async fn wait_for_release(mut self, ends: &mut Ends, writer: JoinHandle<()>) {
        drop(self.permit.take());
        // Reaps the keeper now: the close may be days away, and until then it would be a zombie.
        let stop = self.shared.shutdown.clone();
        tokio::select! {
            () = self.keeper_ended() => {}
            () = stop.begun() => {}
        }

        let is_closed = hung_up(&mut ends.hangup).await;
        if !is_closed && self.shared.shutdown.has_begun() {
            return;
        }

        // The session drops its sender of screens when it ends.
        let _ = writer.await;
        self.keeper_ended().await;
        let directory = self.directory.clone();
        let removed = spawn_blocking(move || {
            if let Err(error) = directory.stop() {
                warn!(%error, "cannot end a keeper");
            }
            fs::remove_dir_all(directory.path())
        });
        if let Ok(Err(error)) = removed.await {
            warn!(%error, "cannot remove the directory of a terminal");
        }
        self.shared.held.lock().remove(self.directory.path());
    }
}

fn read_records(mut cursor: Cursor) -> (Cursor, Vec<Record>) {
    let mut records = Vec::new();
    while records.len() < RECORDS {
        match cursor.read() {
            Ok(Some(record)) => records.push(record),
            Ok(None) => break,
            Err(error) => {
                warn!(%error, "cannot read the log of a terminal");
                break;
            }
        }
    }
    (cursor, records)
}
