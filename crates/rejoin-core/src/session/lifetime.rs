//! The lifetime of a session: its transitions, their announcement once they are durable, and the
//! idle time-out.

mod revival;

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use rejoin_protocol::{
    ConnectionId, Exit, SessionId, SessionStatus, UserId, message::SessionUpdate,
};
use tokio::time::Instant;
use tracing::info;

use crate::{
    backend::{Control, EventKind, SessionRow, StoredDeadline},
    recorder::Recorder,
    session::{
        Session, Shared, State,
        life::{Life, LifeEvent, Outcome},
    },
    time::{MachineClock, now_ms},
    timers::Timers,
};

/// The time before another attempt to end a program whose terminal takes no commands.
const RETRY: Duration = Duration::from_secs(1);

/// The least time before a recovered session ends: its log may have the program's exit.
const RECOVERED: Duration = Duration::from_secs(1);

/// A session that the timer queue does not keep in memory.
#[derive(Debug)]
pub(crate) struct IdleTimer(Weak<Shared>);

/// The parts of a hub that lifetimes use.
#[derive(Clone, Debug)]
pub(crate) struct LifetimeContext {
    pub(crate) recorder: Recorder,
    /// One timer for each session that is idle or was, not more.
    pub(crate) timers: Arc<Timers<IdleTimer>>,
    pub(crate) clock: MachineClock,
}

/// The state of a session's lifetime.
#[derive(Debug)]
pub(super) struct Lifetime {
    life: Life,
    /// The newest durable state: clients see this one.
    shown: Shown,
    /// The newest row, durable or not.
    row: SessionRow,
    /// `None`: an idle session stays.
    idle_timeout: Option<Duration>,
    /// The idle time-out was over before this process started. An earlier one may have begun to
    /// end the program, and was killed before it could record the end.
    is_overdue: bool,
    /// The end of the idle time-out.
    deadline: Option<Instant>,
    /// A timer of this session is queued.
    has_timer: bool,
    /// A request to revive the session is under way.
    is_reviving: bool,
}

/// A durable state.
#[derive(Clone, Debug)]
struct Shown {
    status: SessionStatus,
    outcome: Option<Outcome>,
    updated_at: u64,
    revived_as: Option<SessionId>,
}

/// The connection that causes a transition.
#[derive(Clone, Debug)]
pub(super) struct Cause {
    pub(super) connection: ConnectionId,
    pub(super) user: UserId,
}

impl Lifetime {
    /// Creates the lifetime of a row. A row without an end belongs to a program that runs.
    pub(super) fn new(row: SessionRow, idle_timeout: Option<Duration>) -> Self {
        let life = Life::of_row(&row);
        let outcome = life.outcome().cloned();
        // The connections of an earlier process are gone.
        let status = if outcome.is_some() { life.status() } else { SessionStatus::Idle };
        let (updated_at, revived_as) = (row.updated_at, row.revived_as.clone());
        let shown = Shown { status, outcome, updated_at, revived_as };
        let (deadline, has_timer) = (None, false);
        let (is_overdue, is_reviving) = (false, false);
        Self { life, shown, row, idle_timeout, is_overdue, deadline, has_timer, is_reviving }
    }

    pub(super) fn is_ended(&self) -> bool {
        self.life.is_ended()
    }

    /// Returns `true` if the program was asked to end: no connection may attach any more.
    pub(super) fn is_ending(&self) -> bool {
        matches!(self.life, Life::Ending { .. })
    }

    pub(super) fn status(&self) -> SessionStatus {
        self.shown.status
    }

    pub(super) fn exit(&self) -> Option<Exit> {
        self.shown.outcome.as_ref().map(|outcome| outcome.exit.clone().unwrap_or_default())
    }

    pub(super) fn reason(&self) -> Option<String> {
        self.shown.outcome.as_ref().and_then(|outcome| outcome.reason.clone())
    }

    pub(super) fn updated_at(&self) -> u64 {
        self.shown.updated_at
    }

    /// Returns the time at which the session ends, by the clock on the wall as it is now.
    pub(super) fn destroy_at(&self) -> Option<u64> {
        self.deadline.map(|at| now_ms().saturating_add(milliseconds_until(at)))
    }

    /// Returns the reason of an idle time-out, as a sentence for users.
    fn time_out_reason(&self) -> String {
        format!("no connection was attached for {:?}", self.idle_timeout.unwrap_or_default())
    }

    /// Sets the deadline that the state requires, and that of the row.
    fn set_deadline(&mut self, clock: &MachineClock, now: Instant) {
        let is_idle = matches!(self.life, Life::Running { connections: 0 });
        self.deadline = self.idle_timeout.filter(|_| is_idle).map(|timeout| now + timeout);
        self.write_deadline(clock);
    }

    fn write_deadline(&mut self, clock: &MachineClock) {
        self.row.destroy_at = self.destroy_at();
        self.row.deadline = self.deadline.map(|at| StoredDeadline {
            boot: clock.boot.clone(),
            at: (clock.now)().saturating_add(milliseconds_until(at)),
        });
    }
}

impl IdleTimer {
    /// Ends the session if it is still idle and its time is over.
    pub(crate) fn expire(self) {
        if let Some(shared) = self.0.upgrade() {
            Session { shared }.expire();
        }
    }
}

impl Session {
    /// Begins the life of a new session. Returns the number of its record.
    pub(crate) fn begin(&self) -> u64 {
        let mut state = self.shared.state.lock();
        self.transition(&mut state, &LifeEvent::Started, None).unwrap_or_default()
    }

    /// Continues the life of an earlier process's session, with its deadline if the machine was
    /// not restarted since.
    pub(super) fn continue_life(&self) {
        let mut state = self.shared.state.lock();
        let stored = state.lifetime.row.deadline.clone();
        let clock = &self.shared.context.lifetime.clock;
        let stored = stored.filter(|stored| stored.boot == clock.boot);

        let event = LifeEvent::Recovered;
        if let (Some(stored), Some(timeout)) = (stored, state.lifetime.idle_timeout) {
            // A shorter time-out in the new configuration applies. The exit of a program that ended
            // meanwhile is read first.
            let left = Duration::from_millis(stored.at.saturating_sub((clock.now)()));
            state.lifetime.is_overdue = left.is_zero();
            let left = left.min(timeout).max(RECOVERED);
            let configured = state.lifetime.idle_timeout.replace(left);
            self.transition(&mut state, &event, None);
            state.lifetime.idle_timeout = configured;
        } else {
            self.transition(&mut state, &event, None);
        }
    }

    /// Records the end of a session that could not be kept.
    pub(crate) fn give_up(&self, reason: &str) {
        let mut state = self.shared.state.lock();
        let exited = LifeEvent::Exited { exit: Exit::default(), reason: Some(reason.to_owned()) };
        self.transition(&mut state, &exited, None);
        drop(state);
        self.record_removed();
    }

    /// Records that the session is removed. Returns the number of the record.
    pub(crate) fn record_removed(&self) -> u64 {
        let mut state = self.shared.state.lock();
        let now = now_ms();
        state.lifetime.row.removed_at = Some(now);
        let event = state.lifetime.row.event(EventKind::Removed, None, now);
        self.shared.context.lifetime.recorder.record(state.lifetime.row.clone(), event, None)
    }

    /// Returns the time of the last activity if it is newer than that of the row.
    pub(crate) fn take_activity(&self) -> Option<u64> {
        let mut state = self.shared.state.lock();
        let at = state.last_activity_at;
        let row = &mut state.lifetime.row;
        (row.last_activity_at != at).then(|| {
            row.last_activity_at = at;
            at
        })
    }

    /// Returns the time of the end of a session whose end is durable.
    pub(crate) fn ended_at(&self) -> Option<u64> {
        let state = self.shared.state.lock();
        let shown = &state.lifetime.shown;
        shown.outcome.is_some().then_some(shown.updated_at)
    }

    /// Applies an event. Returns the number of the record; `None` if nothing is to be recorded.
    pub(super) fn transition(
        &self,
        state: &mut State,
        event: &LifeEvent,
        cause: Option<Cause>,
    ) -> Option<u64> {
        let context = &self.shared.context.lifetime;
        let lifetime = &mut state.lifetime;
        if lifetime.is_overdue && is_hang_up(event) {
            let timed_out = LifeEvent::TimedOut(lifetime.time_out_reason());
            let life = lifetime.life.after(&timed_out);
            lifetime.life = life.unwrap_or_else(|| lifetime.life.clone());
        }
        lifetime.life = lifetime.life.after(event)?;
        lifetime.is_overdue &= !matches!(event, LifeEvent::Attached);
        lifetime.set_deadline(&context.clock, Instant::now());
        if let Some(at) = lifetime.deadline.filter(|_| !lifetime.has_timer) {
            lifetime.has_timer = true;
            context.timers.push(at, IdleTimer(Arc::downgrade(&self.shared)));
        }

        let kind = match event {
            LifeEvent::Started => EventKind::Started,
            LifeEvent::Recovered => EventKind::Recovered,
            LifeEvent::Attached => EventKind::Attached,
            LifeEvent::Detached => EventKind::Detached,
            LifeEvent::Exited { .. } => EventKind::Ended,
            LifeEvent::Lost { .. } => EventKind::Lost,
            // The end of the program follows, and is recorded.
            LifeEvent::TimedOut(_) | LifeEvent::Closed => return None,
        };

        let row = &mut lifetime.row;
        row.status = lifetime.life.row_status();
        row.active_connections = lifetime.life.connections();
        row.last_activity_at = state.last_activity_at;
        (row.cols, row.rows) = (state.size.cols(), state.size.rows());
        row.title.clone_from(&state.title);
        if let Some(outcome) = lifetime.life.outcome() {
            row.exit.clone_from(&outcome.exit);
            row.reason.clone_from(&outcome.reason);
        }

        let now = now_ms();
        let event = row.event(kind, cause.as_ref().map(|cause| cause.user.clone()), now);
        let outcome = lifetime.life.outcome().cloned();
        let (status, revived_as) = (lifetime.life.status(), None);
        let shown = Shown { status, outcome, updated_at: now, revived_as };
        let session = self.clone();
        let confirm = Box::new(move || session.show(shown, cause));
        Some(context.recorder.record(row.clone(), event, Some(confirm)))
    }

    /// Shows a state to clients: it is durable.
    fn show(&self, shown: Shown, cause: Option<Cause>) {
        let mut state = self.shared.state.lock();
        let has_ended = shown.outcome.is_some();
        let has_changed = shown.status != state.lifetime.shown.status;
        let status = shown.status;
        state.lifetime.shown = shown;
        if has_changed && !has_ended {
            let mut update = SessionUpdate::new(self.id().clone());
            update.status = Some(status);
            self.publish(update);
        }
        drop(state);

        if has_ended {
            // The owner announces it, after which nothing is appended to the stream.
            self.shared.end_durable.notify_one();
        } else if let Some(Cause { connection, user }) = cause.filter(|_| has_changed) {
            self.shared.span.in_scope(|| info!(?status, %connection, %user, "session changed"));
        }
        // The count of connections was announced before.
        if has_changed {
            self.shared.context.observer.record_change(self);
        }
    }

    /// Ends the program if no connection is attached and the idle time-out is over.
    fn expire(&self) {
        let mut state = self.shared.state.lock();
        state.lifetime.has_timer = false;
        let Some(at) = state.lifetime.deadline else { return };
        let timers = &self.shared.context.lifetime.timers;
        let now = Instant::now();
        let is_due = at <= now;

        // Under the lock that an attach takes: the session is in use or it ends, never both.
        if !is_due || state.input.control(Control::End).is_err() {
            state.lifetime.has_timer = true;
            timers.push(at.max(now + RETRY), IdleTimer(Arc::downgrade(&self.shared)));
            return;
        }

        let sentence = state.lifetime.time_out_reason();
        self.transition(&mut state, &LifeEvent::TimedOut(sentence.clone()), None);
        drop(state);
        self.shared.span.in_scope(|| info!(reason = sentence, "ending the program"));
    }
}

/// Returns `true` for an exit as that of a program that the server has ended.
fn is_hang_up(event: &LifeEvent) -> bool {
    let LifeEvent::Exited { exit, .. } = event else { return false };
    matches!(exit.signal.as_deref(), Some("SIGHUP" | "SIGKILL"))
}

fn milliseconds_until(at: Instant) -> u64 {
    let left = at.saturating_duration_since(Instant::now());
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
}
