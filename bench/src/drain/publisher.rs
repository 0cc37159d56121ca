//! The one who publishes, before the stop and after it: the next message when one is answered.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock;
use crate::crowd::Peer;
use crate::data::Stamp;
use crate::frame;
use crate::said::Said;

#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) is_there: bool,
    interval: u64,
    due: u64,
    /// The number of the next message.
    pub(super) next: u64,
    unanswered: Option<u64>,
    /// Messages of which nobody knows whether they were published.
    pub(super) unsure: BTreeSet<u64>,
    pub(super) is_done: bool,
}

impl Publisher {
    pub(super) fn new(rate: u32) -> Self {
        Self {
            is_there: false,
            interval: clock::span(Duration::from_secs(1) / rate),
            due: clock::now(),
            next: 0,
            unanswered: None,
            unsure: BTreeSet::new(),
            is_done: false,
        }
    }

    /// Publishes, if it is time.
    pub(super) fn publish(&mut self, peer: &mut Peer) {
        let now = clock::now();
        if !self.is_there || self.is_done || self.unanswered.is_some() || now < self.due {
            return;
        }
        let stamp = Stamp { time: now, number: self.next }.write();
        let text = String::from_utf8_lossy(&stamp);
        let message = format!(
            r#"{{"id":"{}","type":"publish","payload":{{"topic":"bench","data":"{text}"}}}}"#,
            self.next
        );
        peer.send(frame::TEXT, message.as_bytes());
        self.unanswered = Some(self.next);
        self.next += 1;
        self.due = now + self.interval;
    }

    /// Takes the answer to a message.
    pub(super) fn answered(&mut self, said: &Said<'_>) {
        if said.reply_to.is_some_and(|id| id.parse() == Ok(self.unanswered.unwrap_or(u64::MAX))) {
            let number = self.unanswered.take();
            if said.kind == "error" {
                self.unsure.extend(number);
            }
        }
    }

    /// Its connection has ended.
    pub(super) fn lost(&mut self) {
        self.is_there = false;
        self.unsure.extend(self.unanswered.take());
    }

    /// Whether nothing more will come from it.
    pub(super) fn is_silent(&self) -> bool {
        self.is_done && self.unanswered.is_none()
    }
}
