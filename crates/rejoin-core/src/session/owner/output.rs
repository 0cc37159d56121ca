//! Output on its way to the stream, the handler and the screen.

use bytes::Bytes;
use rejoin_protocol::{
    binary::{BinaryHeader, BinaryKind},
    message::SessionUpdate,
};

use super::Owner;
use crate::{frame::PayloadKind, session::handler::catch_panic, time::now_ms};

impl Owner {
    /// Appends output as one frame, and passes it to the handler and the screen.
    pub(super) fn append_output(&mut self, chunks: Vec<Bytes>) {
        let stream = self.session.stream();
        let head =
            BinaryHeader { kind: BinaryKind::Output, stream: stream.number(), offset: self.offset };
        let head = head.to_bytes();
        let parts: Vec<&[u8]> =
            std::iter::once(&head[..]).chain(chunks.iter().map(|chunk| &chunk[..])).collect();
        let length: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();

        // Readers first. Only later viewers need the screen.
        stream.append(PayloadKind::Binary, length, &parts);
        self.offset += length;
        if let Some(handler) = self.session.handler().filter(|_| !self.progress.is_replaying()) {
            for chunk in &chunks {
                catch_panic(|| handler.output(&self.session, chunk));
            }
        }

        if self.progress.is_new_to_screen(self.offset) {
            self.worker.feed(chunks);
            self.pending.has_output = true;
        }
    }

    /// Publishes the answers and the title that result from output. Returns `false` while the
    /// screen is busy.
    pub(super) fn publish_output(&mut self) -> bool {
        let Some(screen) = self.worker.screen() else { return false };
        let answers = screen.take_answers();
        let mut state = self.session.shared.state.lock();
        if !self.progress.is_replaying() {
            state.last_activity_at = now_ms();
        }

        // Before the title: the program may wait for the answer.
        if !answers.is_empty() {
            state.input.answer(answers.into(), self.offset);
        }

        if state.title != screen.title() {
            screen.title().clone_into(&mut state.title);
            let mut update = SessionUpdate::new(self.session.id().clone());
            update.title = Some(state.title.clone());
            self.session.publish(update);
        }

        true
    }
}
