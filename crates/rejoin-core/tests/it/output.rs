//! The output of a session: its handler, and its frames.

use std::sync::Arc;

use parking_lot::Mutex;
use rejoin_core::{Session, SessionHandler, TerminalEvent};
use rejoin_protocol::Exit;

use crate::{
    session::{contains, read_until, start},
    support::hub,
};

#[tokio::test]
async fn a_removed_handler_gets_no_output_and_can_be_replaced() {
    #[derive(Default)]
    struct Recorder(Mutex<Vec<u8>>);
    impl SessionHandler for Recorder {
        fn output(&self, _session: &Session, bytes: &[u8]) {
            self.0.lock().extend_from_slice(bytes);
        }
    }

    let (hub, mut programs, _shutdown) = hub();
    let (session, program) = start(&hub, &mut programs).await;

    assert!(!session.has_handler());

    let print = async |text: &'static str| {
        program.events.send(TerminalEvent::Output(text.into())).await.unwrap();
        read_until(&session, |frame| frame.ends_with(text.as_bytes())).await;
    };

    let (first, second) = (Arc::new(Recorder::default()), Arc::new(Recorder::default()));
    session.set_handler(Arc::clone(&first) as _).unwrap();
    print("one").await;

    assert!(session.remove_handler().is_some());
    assert!(!session.has_handler());
    assert!(session.remove_handler().is_none());
    print("two").await;
    session.set_handler(Arc::clone(&second) as _).unwrap();
    print("three").await;

    // The handler is called after the append that this test waits for.
    let exit = Exit { code: Some(0), signal: None };
    program.events.send(TerminalEvent::Exit(exit)).await.unwrap();
    read_until(&session, |frame| contains(frame, "terminated")).await;

    assert_eq!((&first.0.lock()[..], &second.0.lock()[..]), (&b"one"[..], &b"three"[..]));
}

#[tokio::test]
async fn outputs_that_wait_together_become_one_frame() {
    let (hub, mut programs, _shutdown) = hub();
    let (session, program) = start(&hub, &mut programs).await;

    // The owner task does not run before this test awaits.
    for letter in ["a", "b", "c", "d", "e"] {
        program.events.try_send(TerminalEvent::Output(letter.into())).unwrap();
    }

    let frames = read_until(&session, |frame| frame.ends_with(b"e")).await;
    let outputs = frames.iter().filter(|frame| contains(frame, "abcde")).count();

    assert_eq!(outputs, 1, "{frames:?}");
}
