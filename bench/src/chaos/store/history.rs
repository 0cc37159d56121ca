//! The legal order of a session's transitions.

use super::database::{EventRow, SessionRow};

/// The transitions that the history of one session retains.
const RETAINED: u64 = 1000;

/// Returns the contradictions in the history of one session.
pub(super) fn contradictions(row: &SessionRow, events: &[EventRow]) -> Vec<String> {
    let (Some(first), Some(last)) = (events.first(), events.last()) else {
        return vec!["no transitions".to_owned()];
    };

    let mut found = Vec::new();
    let oldest = row.last_event.saturating_sub(RETAINED) + 1;
    if first.number != oldest {
        found.push(format!("the history begins with {}, not {oldest}", first.number));
    }
    if first.number == 1 && first.event != "created" {
        found.push(format!("the history begins with `{}`", first.event));
    }
    for pair in events.windows(2) {
        let [before, after] = [&pair[0], &pair[1]];
        if after.number != before.number + 1 {
            found.push(format!("{} is followed by {}", before.number, after.number));
        } else if !is_legal(before, after) {
            found.push(format!("{} is followed by {}", describe(before), describe(after)));
        }
    }

    let same = last.number == row.last_event
        && last.status == row.status
        && last.active_connections == row.active_connections
        && last.at == row.updated_at
        && last.reason == row.reason;
    if !same {
        found.push(format!("the last transition is {}", describe(last)));
    }
    found
}

/// Returns whether a transition may follow another one.
fn is_legal(before: &EventRow, after: &EventRow) -> bool {
    let has_ended = matches!(before.status.as_str(), "terminated" | "error");
    let is_removed = matches!(before.event.as_str(), "removed" | "start_failed");
    let (status, count) = (after.status.as_str(), after.active_connections);
    let running = if count == 0 { "idle" } else { "active" };
    match after.event.as_str() {
        "started" => before.event == "created" && (status, count) == ("idle", 0),
        "start_failed" => before.event == "created" && (status, count) == ("error", 0),
        "attached" => {
            !has_ended
                && before.event != "created"
                && status == "active"
                && count == before.active_connections + 1
        }
        "detached" => {
            !has_ended
                && status == running
                && Some(count) == before.active_connections.checked_sub(1)
        }
        "recovered" => !has_ended && (status, count) == ("idle", 0),
        "ended" => !has_ended && count == 0 && matches!(status, "terminated" | "error"),
        "lost" => !has_ended && (status, count) == ("error", 0),
        "removed" => has_ended && !is_removed && count == 0 && status == before.status,
        _ => false,
    }
}

fn describe(event: &EventRow) -> String {
    let EventRow { number, event, status, active_connections, .. } = event;
    format!("{number} `{event}` ({status}, {active_connections} connections)")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(number: u64, event: &str, status: &str, active_connections: u64) -> EventRow {
        let json = json!({"session": "s", "number": number, "at": 5, "event": event,
            "status": status, "active_connections": active_connections});
        serde_json::from_value(json).unwrap()
    }

    fn row(status: &str, active_connections: u64, last_event: u64) -> SessionRow {
        let json = json!({"id": "s", "profile": "p", "status": status, "updated_at": 5,
            "active_connections": active_connections, "has_exit": 0, "last_event": last_event});
        serde_json::from_value(json).unwrap()
    }

    fn life() -> Vec<EventRow> {
        vec![
            event(1, "created", "starting", 0),
            event(2, "started", "idle", 0),
            event(3, "attached", "active", 1),
            event(4, "attached", "active", 2),
            event(5, "detached", "active", 1),
            event(6, "recovered", "idle", 0),
            event(7, "ended", "error", 0),
            event(8, "removed", "error", 0),
        ]
    }

    #[test]
    fn a_hole_or_an_illegal_transition_is_found() {
        assert_eq!(contradictions(&row("error", 0, 8), &life()), Vec::<String>::new());

        let without = |index: usize| {
            let mut events = life();
            events.remove(index);
            contradictions(&row("error", 0, 8), &events).len()
        };
        assert!((0..8).all(|index| without(index) == 1));

        let mut events = life();
        events[4] = event(5, "detached", "idle", 0);
        assert_eq!(contradictions(&row("error", 0, 8), &events).len(), 1);
        assert_eq!(contradictions(&row("active", 1, 8), &life()).len(), 1);
    }
}
