//! A session's output: who hears of it, and in which pieces it is appended.

use std::sync::Arc;

use parking_lot::Mutex;
use rejoin_core::{Session, SessionHandler, TerminalEvent};
use rejoin_protocol::Exit;

use crate::{
    session::{contains, read_until, start},
    support::hub,
};

#[tokio::test]
async fn a_handler_that_is_removed_hears_nothing_more_and_another_may_follow() {
    #[derive(Default)]
    struct Heard(Mutex<Vec<u8>>);
    impl SessionHandler for Heard {
        fn output(&self, _session: &Session, bytes: &[u8]) {
            self.0.lock().extend_from_slice(bytes);
        }
    }
    let (hub, mut programs, _shutdown) = hub();
    let (session, program) = start(&hub, &mut programs).await;
    assert!(!session.has_handler());
    let say = async |text: &'static str| {
        program.events.send(TerminalEvent::Output(text.into())).await.unwrap();
        read_until(&session, |frame| frame.ends_with(text.as_bytes())).await;
    };
    let (first, second) = (Arc::new(Heard::default()), Arc::new(Heard::default()));
    session.set_handler(Arc::clone(&first) as _).unwrap();
    say("one").await;
    assert!(session.remove_handler().is_some());
    assert!(!session.has_handler());
    assert!(session.remove_handler().is_none());
    say("two").await;
    session.set_handler(Arc::clone(&second) as _).unwrap();
    say("three").await;
    // The handler is called after the append that this test reads.
    let exit = Exit { code: Some(0), signal: None };
    program.events.send(TerminalEvent::Exit(exit)).await.unwrap();
    read_until(&session, |frame| contains(frame, "terminated")).await;
    assert_eq!((&first.0.lock()[..], &second.0.lock()[..]), (&b"one"[..], &b"three"[..]));
}

#[tokio::test]
async fn small_outputs_that_wait_together_become_one_frame() {
    let (hub, mut programs, _shutdown) = hub();
    let (session, program) = start(&hub, &mut programs).await;
    // The session's owner has no turn before this test waits.
    for letter in ["a", "b", "c", "d", "e"] {
        program.events.try_send(TerminalEvent::Output(letter.into())).unwrap();
    }
    let frames = read_until(&session, |frame| frame.ends_with(b"e")).await;
    let outputs = frames.iter().filter(|frame| contains(frame, "abcde")).count();
    assert_eq!(outputs, 1, "{frames:?}");
}
