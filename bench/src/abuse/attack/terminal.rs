//! Attacks by what a terminal's program prints, or by what a viewer asks of it.
//!
//! The program is a mirror: it prints each byte that is typed.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde_json::json;

use super::{Attack, Opening, Plan};
use crate::crowd::Peer;
use crate::report::Counts;
use crate::said::Said;

/// A profile whose program prints what is typed, byte for byte.
pub(super) const MIRROR: &str =
    "[profiles.mirror]\ncommand = [\"sh\", \"-c\", \"stty raw -echo; exec cat\"]\n";
/// The widest screen, and the highest.
const COLS: u16 = 1000;
const ROWS: u16 = 500;
/// Bytes that are typed at once; the server takes 64 KiB of one message.
const TYPED_BYTES: usize = 16 * 1024;
const LINK_BYTES: usize = 6_000;
/// Connections that start a terminal each, and type.
const TYPISTS: usize = 3;
/// Connections that attach to the first of these and do not read.
const VIEWERS: usize = 5;

/// The output of the program.
#[derive(Clone, Copy, Debug)]
pub(super) enum Print {
    /// A cell with 64 combining marks, repeated as often as can be said.
    Repeats,
    /// The alternate screen, on and off.
    Screens,
    /// Links of 6 kB, a new one for each cell.
    Links,
    /// A colour of its own for each cell.
    Colours,
    /// Colours, while the size changes between the widest and the narrowest.
    Resizes,
}

/// Terminals that print, and viewers that do not read.
pub(super) struct Terminal {
    print: Print,
    text: String,
    /// By the number of the connection that types.
    sessions: HashMap<usize, String>,
    /// Connections that attach to one of them and do not read.
    stuck: HashSet<usize>,
    number: u64,
    narrow: bool,
}

/// The part of an answer that names a session.
#[derive(Deserialize)]
struct Created {
    session: Named,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

impl Terminal {
    pub(super) fn new(print: Print) -> Self {
        let text = text(print);
        Self {
            print,
            text,
            sessions: HashMap::new(),
            stuck: HashSet::new(),
            number: 0,
            narrow: false,
        }
    }
}

impl Attack for Terminal {
    fn plan(&self) -> Plan {
        let (connections, opening) = (TYPISTS + VIEWERS, Opening::Proper);
        Plan {
            connections,
            opens_per_second: 8,
            actors: connections,
            acts_per_second: 160,
            opening,
        }
    }

    fn enter(&mut self, number: usize, peer: &mut Peer) {
        self.stuck.remove(&number);
        if number >= TYPISTS {
            return;
        }
        let create = json!({"kind": "terminal", "profile": "mirror", "cols": COLS, "rows": ROWS});
        peer.ask(&format!("create {number}"), "create_session", &create);
    }

    fn act(&mut self, number: usize, peer: &mut Peer, what: &mut Counts) {
        if number >= TYPISTS {
            if let Some(session) = self.sessions.get(&0)
                && self.stuck.insert(number)
            {
                peer.ask("t", "attach", &json!({"session": session, "role": "viewer"}));
                peer.stop_reading();
            }
            return;
        }
        let Some(session) = self.sessions.get(&number) else { return };
        if !peer.is_free() {
            what.add("held back");
            return;
        }
        if matches!(self.print, Print::Resizes) {
            self.narrow = !self.narrow;
            let cols = if self.narrow { 2 } else { COLS };
            let resize = json!({"session": session, "cols": cols, "rows": ROWS});
            peer.ask("r", "resize", &resize);
            what.add("resizes");
        }
        let text = self.text.replace('N', &self.number.to_string());
        peer.ask("i", "input", &json!({"session": session, "data": text}));
        self.number += 1;
        what.add_many("bytes printed", text.len() as u64);
    }

    fn hear(&mut self, said: &Said<'_>, peer: &mut Peer) {
        let Some(number) = said.reply_to.and_then(|id| id.strip_prefix("create ")) else { return };
        let (Ok(number), Ok(created)) = (number.parse(), said.payload::<Created>()) else { return };
        let attach = json!({"session": created.session.id, "cols": COLS, "rows": ROWS});
        peer.ask("t", "attach", &attach);
        self.sessions.insert(number, created.session.id);
    }
}

/// Returns the output of one turn; each `N` stands for a number that grows.
fn text(print: Print) -> String {
    let unit = match print {
        Print::Repeats => {
            let marks: String = std::iter::repeat_n('\u{301}', 64).collect();
            format!("e{marks}\x1b[65535b")
        }
        Print::Screens => "\x1b[?1049h\x1b[?1049l".to_owned(),
        Print::Links => {
            format!("\x1b]8;;http://{}/N\x1b\\x\x1b[1my\x1b[0mz", "a".repeat(LINK_BYTES))
        }
        Print::Colours | Print::Resizes => (0..64)
            .map(|n| format!("\x1b[38;2;{n};{};7m#\x1b[48;2;9;{n};{n}m#", 255 - n))
            .collect::<String>(),
    };
    unit.repeat((TYPED_BYTES / unit.len()).max(1))
}
