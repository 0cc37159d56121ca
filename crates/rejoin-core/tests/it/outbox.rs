//! The outbox: in order, and bounded.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rejoin_core::{Item, MAX_OUTBOX_BYTES, MAX_OUTBOX_ITEMS, Outbox, Wake};
use rejoin_protocol::{CloseCode, StreamNumber};

#[derive(Debug, Default)]
struct Told(Mutex<Vec<usize>>);

impl Wake for Told {
    fn stream_advanced(&self, _stream: StreamNumber) {}

    fn outbox_filled(&self, slot: usize) {
        self.0.lock().push(slot);
    }
}

fn outbox() -> (Outbox, Arc<Told>) {
    let told = Arc::new(Told::default());
    (Outbox::new(Arc::clone(&told) as _, 7), told)
}

fn message(length: usize) -> Item {
    Item::Message(Bytes::from(vec![0; length]))
}

#[test]
fn a_writer_is_told_once_until_it_has_taken_all() {
    let (outbox, told) = outbox();
    outbox.push(message(1));
    outbox.push(message(1));
    assert_eq!(*told.0.lock(), [7]);
    assert!(outbox.pop().is_some() && outbox.pop().is_some());
    outbox.push(message(1));
    assert_eq!(*told.0.lock(), [7]);
    assert!(outbox.pop().is_some() && outbox.pop().is_none());
    outbox.push(message(1));
    assert_eq!(*told.0.lock(), [7, 7]);
}

#[test]
fn a_peer_that_does_not_read_its_replies_is_let_go() {
    for (count, length) in [(MAX_OUTBOX_ITEMS + 1, 1), (5, MAX_OUTBOX_BYTES / 4)] {
        let (outbox, _) = outbox();
        for _ in 0..count - 1 {
            outbox.push(message(length));
        }
        assert!(!outbox.is_closed());
        outbox.push(message(length));
        assert!(outbox.is_closed());
        assert!(
            matches!(outbox.pop(), Some(Item::Close(goodbye)) if goodbye.code == CloseCode::TooSlow)
        );
        assert!(outbox.pop().is_none(), "what waited is dropped");
        assert_eq!(outbox.end(), count - 1, "and counted");
    }
}

#[test]
fn one_item_is_taken_whatever_its_size() {
    let (outbox, _) = outbox();
    outbox.push(message(2 * MAX_OUTBOX_BYTES));
    assert!(matches!(outbox.pop(), Some(Item::Message(_))));
}

#[tokio::test]
async fn a_preamble_that_is_not_taken_makes_busy_and_a_close_ends_the_waiting() {
    let (outbox, _) = outbox();
    let stream = crate::support::topic(crate::support::frames(1));
    let preamble = vec![Bytes::from(vec![0; 2 * MAX_OUTBOX_BYTES]).into()];
    outbox.push(Item::Read { stream, preamble, reader: rejoin_core::Reader { next: 0 } });
    assert!(outbox.is_busy() && !outbox.is_closed());
    let waits = outbox.relief();
    let closes = async { outbox.push(Item::Close(CloseCode::Draining.into())) };
    tokio::join!(waits, closes);
    outbox.pop();
    assert!(!outbox.is_busy());
}

#[test]
fn a_close_is_told_to_a_writer_that_waits_and_nothing_comes_after_it() {
    let (outbox, told) = outbox();
    outbox.push(message(1));
    outbox.push(Item::Close(CloseCode::Draining.into()));
    outbox.push(message(1));
    outbox.push(Item::Close(CloseCode::Normal.into()));
    assert_eq!(*told.0.lock(), [7, 7]);
    assert!(matches!(outbox.pop(), Some(Item::Message(_))));
    let Some(Item::Close(goodbye)) = outbox.pop() else { panic!("no goodbye") };
    assert_eq!(goodbye.code, CloseCode::Draining);
    assert!(outbox.pop().is_none());
}

#[tokio::test]
async fn an_outbox_that_has_ended_keeps_nothing_and_takes_nothing() {
    let connection = crate::support::connection("ann");
    let outbox = connection.outbox();
    outbox.push(message(1));
    // Kept, it would keep the outbox that it lies in.
    outbox.push(Item::Attend(connection.clone()));
    assert_eq!(outbox.end(), 1, "the messages are counted");
    outbox.push(message(1));
    outbox.relief().await;
    assert!(outbox.is_empty() && outbox.is_closed());
    assert_eq!(outbox.end(), 1);
}
