//! The sessions whose terminals outlived an earlier process.

use std::{collections::HashMap, time::Duration};

use rejoin_protocol::SessionId;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout_at},
};
use tracing::warn;

use crate::{
    backend::{RecoveredTerminal, Recovery, SessionRow, StoreError},
    hub::{Hub, terminals::retention},
    session::{NewSession, Past, Session},
};

/// The time between two attempts to reach terminals that did not answer.
const RETRY: Duration = Duration::from_secs(5);

impl Hub {
    /// Continues the durable topics of an earlier process, and the sessions whose terminals outlived
    /// it.
    ///
    /// Returns once their output is replayed, or at the deadline. The rest becomes visible later.
    /// Terminals that do not answer are tried again until they do. Call it once, before clients
    /// connect: earlier clients would not find their sessions.
    ///
    /// # Errors
    /// If the journal or the rows of the sessions cannot be read.
    pub async fn recover(&self, deadline: Duration) -> Result<(), StoreError> {
        self.load_journal().await?;
        let mut rows = self.load_rows().await?;
        let deadline = Instant::now() + deadline;
        let (hub, shutdown) = (self.clone(), &self.shared.shutdown);
        let (first_tx, first) = oneshot::channel();

        shutdown.spawn(async move {
            let stop = hub.shared.shutdown.clone();
            tokio::select! {
                () = hub.recover_all(&mut rows, first_tx) => {}
                () = stop.begun() => {}
            }
        });
        // At the deadline only this call returns; the task continues.
        let _ = timeout_at(deadline, first).await;
        Ok(())
    }

    /// Recovers until all terminals have answered. `first` is dropped once the
    /// sessions of the first attempt are visible.
    async fn recover_all(
        &self,
        rows: &mut HashMap<SessionId, SessionRow>,
        first: oneshot::Sender<()>,
    ) {
        let mut first = Some(first);
        loop {
            let Recovery { terminals, unanswered } = self.shared.config.terminals.recover().await;
            let shutdown = &self.shared.shutdown;
            // Concurrently: each replays its own output.
            let sessions: Vec<_> = terminals
                .into_iter()
                .map(|terminal| {
                    let (hub, row) = (self.clone(), rows.remove(&terminal.record.id));
                    shutdown.spawn(async move { hub.recover_terminal(terminal, row).await })
                })
                .collect();
            // Rows of terminals that do not answer are decided on later.
            let lost = rows.extract_if(|id, _| !unanswered.contains(id));
            self.record_lost(lost.map(|(_, row)| row));
            for session in sessions {
                let _ = session.await;
            }
            self.complete_revivals();
            if let Some(first) = first.take() {
                self.apply_retention();
                drop(first);
            }

            if unanswered.is_empty() {
                return;
            }
            warn!(
                count = unanswered.len(),
                "terminals of an earlier process do not answer; trying again"
            );
            sleep(RETRY).await;
        }
    }

    /// Continues a session. It is visible once its terminal's output is replayed.
    async fn recover_terminal(&self, terminal: RecoveredTerminal, row: Option<SessionRow>) {
        let RecoveredTerminal { record, screen, offset, size, writers, live } = terminal;
        let row = match row {
            // The terminal's own record has the epoch of its positions.
            Some(row) => Some(SessionRow { record, ..row }),
            None => self.row_of_orphan(record).await,
        };
        let Some(row) = row else {
            // The last process ended between the removal and that of the terminal.
            live.hangup.send_replace(true);
            return;
        };

        let record = row.record.clone();
        let sessions = &self.shared.sessions;
        let Some(reservation) = sessions.reserve_recovered(&record.id, &record.owner) else {
            warn!(session = %record.id, "a terminal of an earlier process has the id of another");
            return;
        };

        let size = screen.as_ref().map_or(size, |screen| screen.size);
        let (replayed_tx, replayed) = oneshot::channel();
        let profile = self.shared.config.profiles.get(&record.profile);
        // A profile that was removed from the configuration has the default.
        let idle_timeout = match profile {
            Some(profile) => self.idle_timeout(profile),
            None => self.shared.config.sessions.idle_timeout.time(),
        };
        let new = NewSession {
            row,
            idle_timeout,
            size,
            past: Some(Past { offset, screen, writers, replayed: replayed_tx }),
            number: self.shared.presence.next_stream(),
            retention: retention(),
            scrollback: self.shared.config.sessions.scrollback,
            context: self.session_context(),
        };

        let (session, owner) = Session::new(new, live, &*self.shared.config.screens);
        if let Some(handler) = self.shared.events.session_handler(&session) {
            // An error means that the event handler has set a handler itself.
            let _ = session.set_handler(handler);
        }
        owner.start(&self.shared.shutdown);

        // An error means that the server stops.
        if replayed.await.is_ok() {
            reservation.fill_recovered(&session);
            self.shared.changes.record_created(&session);
        }
    }
}
