//! What waits for one connection: the rest of a message, replies, streams, a goodbye.

use std::{collections::VecDeque, io, mem};

use bytes::Bytes;
use rejoin_core::{DropReason, Goodbye, Item};
use rejoin_protocol::{
    CloseCode,
    message::{Closing, ServerMessage, text},
};

use crate::shard::{
    deliver::{Caught, await_writable},
    form,
    run::Run,
    writer::Writer,
};

impl Run {
    /// Does what waits for a connection: what is pending, its outbox, its streams.
    pub(super) fn serve(&mut self, slot: usize) {
        let Some(Some(writer)) = self.writers.get(slot) else { return };
        if !writer.blocked {
            if let Err(error) = self.try_serve(slot) {
                self.fail(slot, &error);
                return;
            }
            let Some(Some(writer)) = self.writers.get(slot) else { return };
            if writer.blocked {
                await_writable(&self.events, slot, writer);
            } else if writer.closing && writer.pending.is_empty() {
                self.remove(slot);
                return;
            }
        }
        let Some(Some(writer)) = self.writers.get_mut(slot) else { return };
        if writer.outbox.is_closed() && !mem::replace(&mut writer.hurried, true) {
            self.hurry(slot);
        }
    }

    fn try_serve(&mut self, slot: usize) -> io::Result<()> {
        loop {
            let Some(Some(writer)) = self.writers.get_mut(slot) else { return Ok(()) };
            self.sent.bytes += writer.write_pending()? as u64;
            if writer.blocked {
                return Ok(());
            }
            match writer.outbox.pop() {
                Some(Item::Message(bytes)) => {
                    self.sent.messages += 1;
                    writer.pending.extend(form::of_reply(bytes, writer.form));
                }
                Some(Item::Read { stream, preamble, reader }) => {
                    if !preamble.is_empty() {
                        self.metrics.snapshots_sent.inc();
                    }
                    writer.put(&preamble);
                    self.add_reader(slot, &stream, reader);
                }
                Some(Item::Unread(stream)) => self.remove_reader(slot, stream, DropReason::Closed),
                Some(Item::Attend(connection)) => self.attend(slot, connection),
                Some(Item::Close(goodbye)) => writer.goodbye = Some(Box::new(goodbye)),
                None => break,
            }
        }
        let Some(Some(writer)) = self.writers.get_mut(slot) else { return Ok(()) };
        if writer.closing {
            return Ok(());
        }
        // Who is let go for another reason than the server's own end hears no more of streams.
        let goodbye = writer.goodbye.as_deref();
        let reads = goodbye.is_none_or(|goodbye| goodbye.code == CloseCode::Draining);
        if reads && !self.read_on(slot)? {
            return Ok(());
        }
        let Some(Some(writer)) = self.writers.get_mut(slot) else { return Ok(()) };
        if let Some(&goodbye) = writer.goodbye.as_deref() {
            writer.closing = true;
            let form = writer.form;
            writer
                .pending
                .extend(last_words(goodbye).filter_map(|word| form::of_reply(word, form)));
            self.sent.bytes += writer.write_pending()? as u64;
        }
        Ok(())
    }

    /// Gives a connection what is new in its streams; whether that was all.
    fn read_on(&mut self, slot: usize) -> io::Result<bool> {
        let Some(Some(writer)) = self.writers.get_mut(slot) else { return Ok(true) };
        if mem::take(&mut writer.late) {
            for index in 0..writer.reads.len() {
                self.skip(slot, index)?;
            }
        }
        let (mut all, mut index) = (true, 0);
        loop {
            let Some(Some(writer)) = self.writers.get(slot) else { return Ok(true) };
            let Some(&(stream, _)) = writer.reads.get(index) else { return Ok(all) };
            match self.catch_up(slot, index)? {
                Caught::Up => index += 1,
                Caught::Waits => (all, index) = (false, index + 1),
                Caught::Turn => {
                    (all, index) = (false, index + 1);
                    queue(&mut self.writers, &mut self.behind, slot);
                }
                // Another reader has its index then.
                Caught::TooSlow => {
                    self.remove_reader(slot, stream, DropReason::Slow);
                    self.close(slot, CloseCode::TooSlow);
                }
                Caught::End => {
                    self.close(slot, CloseCode::Normal);
                    index += 1;
                }
            }
        }
    }

    /// Lets a connection go, after what waits for it.
    fn close(&self, slot: usize, code: CloseCode) {
        if let Some(Some(writer)) = self.writers.get(slot) {
            writer.outbox.push(Item::Close(code.into()));
        }
    }
}

/// Sees to it that a connection gets another turn.
pub(super) fn queue(writers: &mut [Option<Writer>], behind: &mut VecDeque<usize>, slot: usize) {
    if let Some(Some(writer)) = writers.get_mut(slot)
        && !mem::replace(&mut writer.queued, true)
    {
        behind.push_back(slot);
    }
}

/// What is said before the socket is closed.
fn last_words(goodbye: Goodbye) -> impl Iterator<Item = Bytes> {
    let Goodbye { code, reconnect_after, window } = goodbye;
    // Codes below 4000 are the WebSocket's own: the peer broke it, or said goodbye itself.
    let announced = code.code() >= 4000;
    let closing = announced.then(|| {
        let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let closing = Closing::new(code, ms(reconnect_after), ms(window));
        let closing = text(None, &ServerMessage::Closing(closing));
        rejoin_websocket::encode(rejoin_websocket::Kind::Text, &[closing.as_bytes()])
    });
    closing.into_iter().chain([rejoin_websocket::close(code.code(), code.row().name)])
}
