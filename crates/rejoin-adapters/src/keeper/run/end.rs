//! The end of a terminal: the rest of its log, and the removal of its directory.

use std::{fs, time::Duration};

use rejoin_core::TerminalEvent;
use rejoin_keeper::log::{Cursor, Record};
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep},
};
use tracing::warn;

use super::{Ends, Terminal, hung_up, output_length};

/// Time for a keeper's process to end after the end of its connection.
const KEEPER_END: Duration = Duration::from_secs(15);
/// The time between two checks of a process that ends.
const POLL: Duration = Duration::from_millis(10);
/// The records of one read of the log.
const RECORDS: usize = 64;

impl Terminal {
    /// Reads what the keeper has logged and not sent, after its end. Returns `false` if the server
    /// stops.
    pub(super) async fn read_rest(&mut self, ends: &mut Ends) -> bool {
        if self.has_ended {
            return true;
        }
        // The keeper may still write: the log is complete once its process has ended.
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

        // The log has no exit: the keeper was killed. It left the program, which is killed too.
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

    /// Waits until no keeper runs. A keeper that was taken over by another server runs on.
    async fn keeper_ended(&mut self) {
        let deadline = Instant::now() + KEEPER_END;
        loop {
            // Reaps it: a zombie holds no lock, but a process id. The lock is free before its end.
            let runs = self.process.as_mut().map(|process| matches!(process.try_wait(), Ok(None)));
            let has_ended = !runs.unwrap_or(false) && !self.directory.has_keeper().unwrap_or(false);
            if has_ended || Instant::now() >= deadline {
                return;
            }
            sleep(POLL).await;
        }
    }

    /// Waits until the session is closed, and removes its directory. A stop of the server leaves
    /// the directory for the next process.
    pub(super) async fn wait_for_release(mut self, ends: &mut Ends, writer: JoinHandle<()>) {
        drop(self.permit.take());
        // Before the close, which may be days away: until then the keeper would be a zombie.
        let stop = self.shared.shutdown.clone();
        tokio::select! {
            () = self.keeper_ended() => {}
            () = stop.begun() => {}
        }

        let is_closed = hung_up(&mut ends.hangup).await;
        if !is_closed && self.shared.shutdown.has_begun() {
            return;
        }

        // The session drops its sender of screens when it has ended.
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
