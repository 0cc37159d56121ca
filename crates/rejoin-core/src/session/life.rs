//! The life of a session as a state machine.
//!
//! ```text
//! starting ──► running (active ⇄ idle) ──► ended (terminated, error)
//!                     └──► ending ──────────┘
//! ```

use rejoin_protocol::{Exit, SessionStatus};

use crate::backend::{RowStatus, SessionRow};

/// The state of a session's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// The program is not running yet.
    Starting,
    /// The program runs.
    Running { connections: u64 },
    /// The program was asked to end. No connection may attach any more.
    Ending { connections: u64, cause: EndCause },
    /// The program has ended.
    Ended(Outcome),
}

/// The cause for which the server ends a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EndCause {
    /// No connection was attached for the idle time-out, whose sentence this is.
    TimedOut(String),
    /// The session is being removed.
    Closed,
}

/// The result of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) is_error: bool,
    /// `None`: no process has observed the end of the program.
    pub(crate) exit: Option<Exit>,
    pub(crate) reason: Option<String>,
}

/// An input of the state machine.
#[derive(Clone, Debug)]
pub(crate) enum LifeEvent {
    Started,
    /// Another process continues the session; its connections are gone.
    Recovered,
    Attached,
    Detached,
    TimedOut(String),
    Closed,
    /// The program has ended. `reason` is that of an unexpected end.
    Exited {
        exit: Exit,
        reason: Option<String>,
    },
    /// The program is gone with its machine or its keeper.
    Lost {
        reason: String,
    },
}

impl Outcome {
    /// Returns `true` if the program is gone and nothing asked it to end.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_error && self.exit.is_none()
    }
}

impl Life {
    /// Returns the state of a stored row.
    pub(crate) fn of_row(row: &SessionRow) -> Self {
        match row.status {
            RowStatus::Starting => Self::Starting,
            RowStatus::Active | RowStatus::Idle => {
                Self::Running { connections: row.active_connections }
            }
            status @ (RowStatus::Terminated | RowStatus::Error) => Self::Ended(Outcome {
                is_error: status == RowStatus::Error,
                exit: row.exit.clone(),
                reason: row.reason.clone(),
            }),
        }
    }

    /// Returns the state after an event; `None` if the event changes nothing in this state.
    pub(crate) fn after(&self, event: &LifeEvent) -> Option<Self> {
        use LifeEvent as Event;
        match (self, event) {
            (Self::Starting, Event::Started | Event::Recovered)
            | (Self::Running { .. }, Event::Recovered) => Some(Self::Running { connections: 0 }),

            (Self::Running { connections }, Event::Attached) => {
                Some(Self::Running { connections: connections + 1 })
            }
            (Self::Running { connections }, Event::Detached) => {
                Some(Self::Running { connections: connections.checked_sub(1)? })
            }
            // A session in use is never ended by a timer.
            (Self::Running { connections: 0 }, Event::TimedOut(sentence)) => {
                let cause = EndCause::TimedOut(sentence.clone());
                Some(Self::Ending { connections: 0, cause })
            }
            (Self::Running { connections }, Event::Closed) => {
                Some(Self::Ending { connections: *connections, cause: EndCause::Closed })
            }
            (Self::Ending { connections, cause }, Event::Detached) => {
                let connections = connections.checked_sub(1)?;
                Some(Self::Ending { connections, cause: cause.clone() })
            }

            (Self::Starting | Self::Running { .. }, Event::Exited { exit, reason }) => {
                let (exit, reason) = (Some(exit.clone()), reason.clone());
                Some(Self::Ended(Outcome { is_error: reason.is_some(), exit, reason }))
            }
            (Self::Starting | Self::Running { .. }, Event::Lost { reason }) => {
                let reason = Some(reason.clone());
                Some(Self::Ended(Outcome { is_error: true, exit: None, reason }))
            }
            // An end that the server caused is no error, whatever its exit code.
            (Self::Ending { cause, .. }, Event::Exited { .. } | Event::Lost { .. }) => {
                let exit = if let Event::Exited { exit, .. } = event { Some(exit) } else { None };
                let reason = match cause {
                    EndCause::TimedOut(sentence) => Some(sentence.clone()),
                    EndCause::Closed => None,
                };
                Some(Self::Ended(Outcome { is_error: false, exit: exit.cloned(), reason }))
            }

            (
                Self::Starting,
                Event::Attached | Event::Detached | Event::TimedOut(_) | Event::Closed,
            )
            | (Self::Running { .. }, Event::Started | Event::TimedOut(_))
            | (
                Self::Ending { .. },
                Event::Started
                | Event::Recovered
                | Event::Attached
                | Event::TimedOut(_)
                | Event::Closed,
            )
            // The last screen may be attached to, which is no transition.
            | (Self::Ended(_), _) => None,
        }
    }

    pub(crate) fn connections(&self) -> u64 {
        match self {
            Self::Running { connections } | Self::Ending { connections, .. } => *connections,
            Self::Starting | Self::Ended(_) => 0,
        }
    }

    pub(crate) fn is_ended(&self) -> bool {
        matches!(self, Self::Ended(_))
    }

    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        if let Self::Ended(outcome) = self { Some(outcome) } else { None }
    }

    pub(crate) fn row_status(&self) -> RowStatus {
        match self {
            Self::Starting => RowStatus::Starting,
            Self::Running { connections: 0 } | Self::Ending { connections: 0, .. } => {
                RowStatus::Idle
            }
            Self::Running { .. } | Self::Ending { .. } => RowStatus::Active,
            Self::Ended(Outcome { is_error: false, .. }) => RowStatus::Terminated,
            Self::Ended(Outcome { is_error: true, .. }) => RowStatus::Error,
        }
    }

    /// Returns the status for clients.
    pub(crate) fn status(&self) -> SessionStatus {
        match self.row_status() {
            // Clients see a session from its start on.
            RowStatus::Starting | RowStatus::Idle => SessionStatus::Idle,
            RowStatus::Active => SessionStatus::Active,
            RowStatus::Terminated => SessionStatus::Terminated,
            RowStatus::Error => SessionStatus::Error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exited(reason: Option<&str>) -> LifeEvent {
        LifeEvent::Exited { exit: Exit::default(), reason: reason.map(str::to_owned) }
    }

    fn lost() -> LifeEvent {
        LifeEvent::Lost { reason: "no keeper".to_owned() }
    }

    fn all_events() -> Vec<LifeEvent> {
        vec![
            LifeEvent::Started,
            LifeEvent::Recovered,
            LifeEvent::Attached,
            LifeEvent::Detached,
            LifeEvent::TimedOut("idle".to_owned()),
            LifeEvent::Closed,
            exited(None),
            exited(Some("code 3")),
            lost(),
        ]
    }

    #[test]
    fn an_ended_session_stays_as_it_is() {
        let outcome = Outcome { is_error: true, exit: Some(Exit::default()), reason: None };
        let ended = Life::Ended(outcome);
        assert!(all_events().iter().all(|event| ended.after(event).is_none()));
    }

    #[test]
    fn a_session_in_use_does_not_time_out() {
        let timed_out = LifeEvent::TimedOut("idle".to_owned());
        let running = |connections| Life::Running { connections };
        assert_eq!(running(1).after(&timed_out), None);
        let ending = running(0).after(&timed_out).unwrap();
        assert_eq!(ending.after(&LifeEvent::Attached), None);

        // The exit code of a program that was ended is no error.
        let ended = ending.after(&exited(Some("SIGHUP"))).unwrap();
        assert_eq!(ended.status(), SessionStatus::Terminated);
        assert_eq!(ended.outcome().unwrap().reason.as_deref(), Some("idle"));
    }

    #[test]
    fn only_a_program_that_was_to_stay_is_lost() {
        let running = Life::Running { connections: 1 };
        assert!(running.after(&lost()).unwrap().outcome().unwrap().is_lost());
        // An exit that was observed is none, also if its status is unknown.
        assert!(!running.after(&exited(Some("unknown"))).unwrap().outcome().unwrap().is_lost());
        let ending = running.after(&LifeEvent::Closed).unwrap();
        assert!(!ending.after(&lost()).unwrap().outcome().unwrap().is_lost());
    }

    #[test]
    fn any_order_of_events_keeps_the_count_exact() {
        // Every sequence of five events from the start.
        let events = all_events();
        for mut code in 0..events.len().pow(5) {
            let (mut life, mut count) = (Life::Starting, 0);
            for _ in 0..5 {
                let event = &events[code % events.len()];
                code /= events.len();
                let Some(next) = life.after(event) else { continue };
                count = match event {
                    LifeEvent::Attached => count + 1,
                    LifeEvent::Detached => count - 1,
                    LifeEvent::Recovered | LifeEvent::Exited { .. } | LifeEvent::Lost { .. } => 0,
                    _ => count,
                };
                assert_eq!(next.connections(), count, "{life:?} {event:?}");
                assert!(!life.is_ended());
                life = next;
            }
        }
    }
}
