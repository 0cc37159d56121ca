//! Attacks by the output of a terminal's program, or by requests of its viewers.
//!
//! The program is a mirror: it prints each byte that is typed.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::{Attack, Kind, Plan};
use crate::client_pool::Client;
use crate::report::Counts;

/// A profile whose program prints its input byte for byte.
pub(super) const MIRROR: &str =
    "[profiles.mirror]\ncommand = [\"sh\", \"-c\", \"stty raw -echo; exec cat\"]\n";
/// The largest size of a terminal.
const COLS: u16 = 1000;
const ROWS: u16 = 500;
/// Bytes per input message. The server's limit is 64 KiB.
const INPUT_BYTES: usize = 16 * 1024;
const LINK_BYTES: usize = 6_000;
/// Connections that create a terminal each and type.
const WRITERS: usize = 3;
/// Connections that view the first terminal and do not read.
const VIEWERS: usize = 5;

/// Terminals that print, and viewers that do not read.
pub(super) struct Terminals {
    kind: Kind,
    /// The input of one act; each `N` stands for a number that grows.
    text: String,
    /// Session ids by the number of the writer.
    sessions: HashMap<usize, String>,
    /// Viewers that have attached.
    attached: HashSet<usize>,
    number: u64,
}

impl Terminals {
    /// Returns the attack by this output, with its plan.
    pub(super) fn attack(kind: Kind) -> (Plan, Box<dyn Attack>) {
        let connections = WRITERS + VIEWERS;
        let terminals = Self {
            kind,
            text: text(kind),
            sessions: HashMap::new(),
            attached: HashSet::new(),
            number: 0,
        };

        (Plan::hold(connections, 8).act(connections, 160), Box::new(terminals))
    }
}

impl Attack for Terminals {
    fn on_ready(&mut self, number: usize, client: &mut Client) {
        self.attached.remove(&number);
        if number >= WRITERS {
            return;
        }

        let create = json!({"kind": "terminal", "profile": "mirror", "cols": COLS, "rows": ROWS});
        // The reply names the session but not the writer, so the id of the request does.
        client.request(&format!("create {number}"), "create_session", &create);
    }

    fn act(&mut self, number: usize, client: &mut Client, counts: &mut Counts) {
        if number >= WRITERS {
            // Attaches only once there is a session, and then reads neither snapshot nor output.
            if let Some(session) = self.sessions.get(&0)
                && self.attached.insert(number)
            {
                let attach = json!({"session": session, "role": "viewer"});
                client.request("attach", "attach", &attach);
                client.pause_reading();
            }
            return;
        }

        let Some(session) = self.sessions.get(&number) else { return };

        // Bounds the queued input: the program may be slower than the rate of acts.
        if !client.is_writable() {
            counts.add("held back");
            return;
        }

        if self.kind == Kind::Resizes {
            let cols = if self.number.is_multiple_of(2) { 2 } else { COLS };
            let resize = json!({"session": session, "cols": cols, "rows": ROWS});
            client.request("resize", "resize", &resize);
            counts.add("resizes");
        }
        let text = self.text.replace('N', &self.number.to_string());
        client.request("input", "input", &json!({"session": session, "data": text}));
        self.number += 1;
        counts.add_many("bytes printed", text.len() as u64);
    }

    fn on_message(&mut self, message: &Value, client: &mut Client) {
        let id = message["reply_to"].as_str().and_then(|id| id.strip_prefix("create "));
        if let Some(number) = id.and_then(|number| number.parse().ok())
            && let Some(session) = message["payload"]["session"]["id"].as_str()
        {
            let attach = json!({"session": session, "cols": COLS, "rows": ROWS});
            client.request("attach", "attach", &attach);
            self.sessions.insert(number, session.to_owned());
        }
    }
}

/// Returns the input of one act.
fn text(kind: Kind) -> String {
    let unit = match kind {
        Kind::Repeats => format!("e{}\x1b[65535b", "\u{301}".repeat(64)),
        Kind::Screens => "\x1b[?1049h\x1b[?1049l".to_owned(),
        Kind::Links => {
            format!("\x1b]8;;http://{}/N\x1b\\x\x1b[1my\x1b[0mz", "a".repeat(LINK_BYTES))
        }
        // Colours, in terminals that may be resized.
        _ => (0..64)
            .map(|n| format!("\x1b[38;2;{n};{};7m#\x1b[48;2;9;{n};{n}m#", 255 - n))
            .collect::<String>(),
    };

    unit.repeat((INPUT_BYTES / unit.len()).max(1))
}
