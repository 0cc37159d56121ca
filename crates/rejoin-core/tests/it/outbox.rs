//! The outbox: in order and bounded.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rejoin_core::{
    Frame, MAX_OUTBOX_BYTES, MAX_OUTBOX_ITEMS, Outbox, OutboxItem, PayloadKind, Wake,
};
use rejoin_protocol::{CloseCode, StreamNumber};

use crate::support::{encode, frames, topic};

#[derive(Debug, Default)]
struct CountingWake(Mutex<Vec<usize>>);

impl Wake for CountingWake {
    fn stream_advanced(&self, _stream: StreamNumber) {}

    fn outbox_filled(&self, slot: usize) {
        self.0.lock().push(slot);
    }
}

fn outbox() -> (Outbox, Arc<CountingWake>) {
    let wake = Arc::new(CountingWake::default());
    (Outbox::new(Arc::clone(&wake) as _, 7), wake)
}

fn message(length: usize) -> OutboxItem {
    OutboxItem::Message(Bytes::from(vec![0; length]))
}

/// Takes the queued items, one letter each.
fn taken(outbox: &Outbox) -> String {
    let letter = |item: OutboxItem| match item {
        OutboxItem::Message(_) => 'm',
        OutboxItem::StartReading { .. } => 'r',
        OutboxItem::StopReading(_) => 's',
        OutboxItem::Control(_) => 'p',
        OutboxItem::Close(_) => 'c',
    };

    outbox.take().into_iter().map(letter).collect()
}

#[test]
fn a_writer_is_notified_once_until_it_has_taken_all() {
    let (outbox, wake) = outbox();
    outbox.push(message(1));
    outbox.push(message(1));
    assert_eq!(*wake.0.lock(), [7]);
    assert_eq!(taken(&outbox), "mm");
    assert_eq!(taken(&outbox), "");
    outbox.push(message(1));
    assert_eq!(*wake.0.lock(), [7, 7]);
}

#[test]
fn a_peer_that_does_not_read_its_replies_is_closed() {
    for (count, length) in [(MAX_OUTBOX_ITEMS + 1, 1), (5, MAX_OUTBOX_BYTES / 4)] {
        let (outbox, _) = outbox();
        for _ in 0..count - 1 {
            outbox.push(message(length));
        }
        assert_eq!(outbox.close_code(), None);
        outbox.push(message(length));
        assert_eq!(outbox.close_code(), Some(CloseCode::TooSlow.code()));
        assert_eq!(taken(&outbox), "c", "the queued messages are dropped");
        assert_eq!(outbox.abort(), count - 1, "and counted");
    }
}

#[test]
fn the_first_message_is_accepted_regardless_of_its_size() {
    let (outbox, _) = outbox();
    outbox.push(message(2 * MAX_OUTBOX_BYTES));
    assert_eq!(taken(&outbox), "m");
}

#[test]
fn a_queued_preamble_pauses_reading_and_closes_nothing() {
    let (outbox, _) = outbox();
    let stream = topic(frames(1));
    let payload = vec![0; 2 * MAX_OUTBOX_BYTES];
    let preamble = vec![Frame::new(encode, PayloadKind::Binary, &[&payload])];
    outbox.push(OutboxItem::StartReading {
        window: None,
        stream,
        preamble,
        reader: rejoin_core::Reader { next: 0 },
    });

    assert!(outbox.is_busy() && !outbox.is_closed());
    assert_eq!(taken(&outbox), "r");
    assert!(!outbox.is_busy());
}

#[test]
fn a_close_is_last_and_notifies_a_waiting_writer() {
    let (outbox, wake) = outbox();
    outbox.push(message(1));
    outbox.push(OutboxItem::Close(CloseCode::Draining.into()));
    outbox.push(message(1));
    outbox.push(OutboxItem::Close(CloseCode::Normal.into()));

    assert_eq!(*wake.0.lock(), [7, 7]);
    assert_eq!(outbox.close_code(), Some(CloseCode::Draining.code()));
    assert_eq!(taken(&outbox), "mc");
    assert_eq!(taken(&outbox), "");
}

#[test]
fn an_aborted_outbox_drops_all_items() {
    let (outbox, _) = outbox();
    outbox.push(message(1));
    assert_eq!(outbox.abort(), 1, "the messages are counted");
    outbox.push(message(1));
    assert!(outbox.is_empty() && outbox.is_closed());
    assert_eq!(outbox.abort(), 0, "and counted once");
}
