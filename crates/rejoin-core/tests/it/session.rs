//! Sessions: attachments, input, sizes and the end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use rejoin_core::{
    AttachOptions, Batch, Connection, Control, CreateTerminal, Hub, MemoryTerminal, Receipt,
    Session, SessionHandler, SessionRight, TerminalEvent,
};
use rejoin_protocol::{ErrorCode, Exit, MessageId, Role, SessionStatus, TerminalSize, WriterId};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::support::{connection, hub, identity, limit, received};

/// The time after which a missing frame fails a test.
const TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) fn size(cols: u16, rows: u16) -> TerminalSize {
    TerminalSize::new(cols, rows).unwrap()
}

pub(crate) fn request(role: Role, size: Option<TerminalSize>) -> AttachOptions {
    AttachOptions { reply_to: None, position: None, role, writer: None, size, window: None }
}

pub(crate) fn named(writer: &str) -> AttachOptions {
    AttachOptions { writer: Some(WriterId::new(writer).unwrap()), ..request(Role::Writer, None) }
}

pub(crate) async fn start(
    hub: &Hub,
    programs: &mut mpsc::Receiver<MemoryTerminal>,
) -> (Session, MemoryTerminal) {
    let create = CreateTerminal::default();
    let session = hub.create_terminal(&identity("ann"), create).await.unwrap();
    (session, programs.recv().await.unwrap())
}

pub(crate) fn text_receipt(connection: &Connection, id: &str) -> Receipt {
    Receipt::text(connection.clone(), Some(MessageId::new(id).unwrap()))
}

async fn typed(program: &mut MemoryTerminal) -> (u64, Bytes) {
    loop {
        if let Control::Input { number, bytes, .. } = program.controls.recv().await.unwrap() {
            return (number, bytes);
        }
    }
}

/// Reads frames until one matches `done`, and returns all of them. Panics after [`TIMEOUT`].
pub(crate) async fn read_until(session: &Session, done: impl Fn(&[u8]) -> bool) -> Vec<Bytes> {
    let stream = session.stream();
    let (mut batch, mut all) = (Batch::default(), Vec::new());
    let mut reader = rejoin_core::Reader { next: 0 };
    // The clock of the machine: a paused one stands still while this loop yields.
    let deadline = Instant::now() + TIMEOUT;
    while Instant::now() < deadline {
        stream.read(reader, limit(100), &mut batch);
        reader.next = batch.end();
        all.extend(batch.frames.drain(..).map(|frame| frame.plain().clone()));
        if all.iter().any(|frame| done(frame)) {
            return all;
        }
        tokio::task::yield_now().await;
    }
    panic!("the expected frame is not among {all:?}");
}

/// Waits until the owner has handled all earlier commands.
pub(crate) async fn fence(session: &Session) {
    session.stream().start(None).await.unwrap();
}

#[tokio::test]
async fn an_attach_is_answered_before_the_stream() {
    let (hub, mut programs, _shutdown) = hub();
    let (session, program) = start(&hub, &mut programs).await;
    program.events.send(TerminalEvent::Output("hello".into())).await.unwrap();
    read_until(&session, |frame| frame.ends_with(b"hello")).await;
    let ann = connection("ann");
    let _attachment = session.attach(&ann, request(Role::Writer, None)).await.unwrap();
    let messages = received(&ann);

    assert_eq!(messages[0]["type"], "attached");
    assert_eq!(messages[0]["payload"]["verdict"], "fresh");
    assert_eq!(messages[1], "read");
}

#[tokio::test]
async fn output_is_numbered_by_its_bytes_and_cut_nowhere() {
    let (hub, mut programs, _shutdown) = hub();
    let (session, program) = start(&hub, &mut programs).await;
    for part in ["abc", "de", "f"] {
        program.events.send(TerminalEvent::Output(part.into())).await.unwrap();
    }

    let frames = read_until(&session, |frame| frame.ends_with(b"f")).await;
    let mut output = Vec::new();
    for frame in frames.iter().filter(|frame| frame[0] == b'b') {
        let (head, bytes) = rejoin_protocol::binary::BinaryHeader::read(&frame[1..]).unwrap();
        assert_eq!(head.offset, output.len() as u64);
        output.extend_from_slice(bytes);
    }

    assert_eq!(output, b"abcdef");
    assert_eq!(session.stream().head().offset, 6);
}

#[tokio::test]
async fn input_is_acknowledged_when_it_is_written() {
    let (hub, mut programs, _shutdown) = hub();
    let (session, mut program) = start(&hub, &mut programs).await;
    let ann = connection("ann");
    let attachment = session.attach(&ann, request(Role::Writer, None)).await.unwrap();
    received(&ann);
    attachment.input(1, "ls\r".into(), text_receipt(&ann, "i")).unwrap();
    let (number, bytes) = typed(&mut program).await;

    assert_eq!(bytes, "ls\r");
    fence(&session).await;
    assert!(received(&ann).is_empty(), "it is not written yet");
    program.written.send(number).unwrap();
    let acked = async {
        loop {
            if let Some(ack) = received(&ann).pop() {
                return ack;
            }
            tokio::task::yield_now().await;
        }
    };

    assert_eq!(acked.await["reply_to"], "i");
}

#[tokio::test]
async fn a_key_resent_after_a_reconnect_is_typed_once() {
    let (hub, mut programs, _shutdown) = hub();
    let (session, mut program) = start(&hub, &mut programs).await;
    let before = connection("ann");
    let attachment = session.attach(&before, named("tab")).await.unwrap();
    attachment.input(1, "a".into(), text_receipt(&before, "1")).unwrap();
    attachment.input(2, "b".into(), text_receipt(&before, "2")).unwrap();
    drop(attachment);
    let after = connection("ann");
    let attachment = session.attach(&after, named("tab")).await.unwrap();

    assert_eq!(received(&after)[0]["payload"]["input_seq"], 2);
    attachment.input(2, "b".into(), text_receipt(&after, "2")).unwrap();
    attachment.input(3, "c".into(), text_receipt(&after, "3")).unwrap();
    let mut keys = Vec::new();
    for _ in 0..3 {
        keys.push(typed(&mut program).await);
    }

    assert_eq!(keys, [(1, "a".into()), (2, "b".into()), (3, "c".into())]);
    assert!(program.controls.try_recv().is_err());

    // The same writer id of another user is another writer.
    let mut root = identity("root");
    root.caps = rejoin_core::Caps::admin();
    let other = connection("root");
    other.refresh(root).unwrap();
    session.attach(&other, named("tab")).await.unwrap();

    assert_eq!(received(&other)[0]["payload"]["input_seq"], 0);
}

#[tokio::test]
async fn a_repeated_key_that_was_written_is_acknowledged_at_once() {
    let (hub, mut programs, _shutdown) = hub();
    let (session, mut program) = start(&hub, &mut programs).await;
    let ann = connection("ann");
    let attachment = session.attach(&ann, named("tab")).await.unwrap();
    attachment.input(1, "a".into(), text_receipt(&ann, "first")).unwrap();
    let (number, _) = typed(&mut program).await;
    program.written.send(number).unwrap();
    while !received(&ann).iter().any(|message| message["reply_to"] == "first") {
        tokio::task::yield_now().await;
    }

    attachment.input(1, "a".into(), text_receipt(&ann, "again")).unwrap();

    assert_eq!(received(&ann)[0]["reply_to"], "again");
}

#[tokio::test]
async fn a_gap_in_numbers_is_refused_with_the_next_number() {
    let (hub, mut programs, _shutdown) = hub();
    let (session, _program) = start(&hub, &mut programs).await;
    let ann = connection("ann");
    let attachment = session.attach(&ann, request(Role::Writer, None)).await.unwrap();
    let error = attachment.input(2, "b".into(), text_receipt(&ann, "2")).unwrap_err();

    assert_eq!(error.code, ErrorCode::InputOutOfOrder);
    assert!(error.message.contains("is 1, not 2"), "{error}");
}

#[tokio::test]
async fn input_for_a_program_that_does_not_read_is_bounded() {
    let (hub, mut programs, _shutdown) = hub();
    let (session, mut program) = start(&hub, &mut programs).await;
    let ann = connection("ann");
    let attachment = session.attach(&ann, request(Role::Writer, None)).await.unwrap();
    let kilobytes = Bytes::from(vec![b'x'; 100_000]);
    let mut taken = 0;
    let refused = loop {
        match attachment.input(0, kilobytes.clone(), text_receipt(&ann, "x")) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        typed(&mut program).await;
    };

    assert_eq!((refused.code, refused.retryable, taken), (ErrorCode::InputFull, true, 10));
}

#[tokio::test]
async fn repeats_of_one_number_are_bounded() {
    let (hub, mut programs, _shutdown) = hub();
    let (session, _program) = start(&hub, &mut programs).await;
    let ann = connection("ann");
    let attachment = session.attach(&ann, request(Role::Writer, None)).await.unwrap();
    attachment.input(1, "x".into(), text_receipt(&ann, "x")).unwrap();
    let refused =
        (0..5_000).find_map(|_| attachment.input(1, "x".into(), text_receipt(&ann, "x")).err());

    assert_eq!(refused.unwrap().code, ErrorCode::InputFull);
}

#[tokio::test]
async fn a_session_is_idle_after_the_last_connection_left() {
    #[derive(Default)]
    struct Recorder(Mutex<Vec<String>>);
    impl SessionHandler for Recorder {
        fn output(&self, _session: &Session, bytes: &[u8]) {
            self.0.lock().push(String::from_utf8_lossy(bytes).into_owned());
        }
        fn exit(&self, _session: &Session, exit: &Exit) {
            self.0.lock().push(format!("exit {:?}", exit.code));
        }
        fn last_left(&self, _session: &Session) {
            self.0.lock().push("last left".to_owned());
        }
    }

    let (hub, mut programs, _shutdown) = hub();
    let (session, program) = start(&hub, &mut programs).await;
    let recorder = Arc::new(Recorder::default());
    session.set_handler(Arc::clone(&recorder) as _).unwrap();

    assert!(
        session.set_handler(Arc::new(Recorder::default())).is_err(),
        "a session has one handler"
    );
    assert!(session.has_handler());

    let (one, two) = (connection("ann"), connection("ann"));
    let first = session.attach(&one, request(Role::Writer, None)).await.unwrap();
    let second = session.attach(&two, request(Role::Writer, None)).await.unwrap();

    wait_for(&session, SessionStatus::Active).await;
    assert_eq!(session.info().connections, 2);
    program.events.send(TerminalEvent::Output("hi".into())).await.unwrap();
    read_until(&session, |frame| frame.ends_with(b"hi")).await;
    drop(first);
    assert_eq!(session.info().status, SessionStatus::Active);
    drop(second);
    wait_for(&session, SessionStatus::Idle).await;
    assert_eq!(session.info().connections, 0);

    let exit = Exit { code: Some(0), signal: None };
    program.events.send(TerminalEvent::Exit(exit)).await.unwrap();
    read_until(&session, |frame| contains(frame, "terminated")).await;

    assert_eq!(*recorder.0.lock(), ["hi", "last left", "exit Some(0)"]);
}

/// Waits until a status is durable.
async fn wait_for(session: &Session, status: SessionStatus) {
    while session.info().status != status {
        tokio::task::yield_now().await;
    }
}

pub(crate) fn contains(frame: &[u8], part: &str) -> bool {
    String::from_utf8_lossy(frame).contains(part)
}

#[tokio::test]
async fn the_exit_follows_the_last_output() {
    let (hub, mut programs, _shutdown) = hub();
    let (session, program) = start(&hub, &mut programs).await;
    let ann = connection("ann");
    let attachment = session.attach(&ann, request(Role::Writer, None)).await.unwrap();
    attachment.input(1, "never read".into(), text_receipt(&ann, "late")).unwrap();
    program.events.send(TerminalEvent::Output("last words".into())).await.unwrap();
    let exit = Exit { code: Some(3), signal: None };
    program.events.send(TerminalEvent::Exit(exit)).await.unwrap();
    let frames = read_until(&session, |frame| contains(frame, "exit")).await;

    assert!(frames[frames.len() - 2].ends_with(b"last words"));

    let info = session.info();

    assert_eq!(info.status, SessionStatus::Error);
    assert_eq!(info.reason.unwrap(), "the program exited with code 3");

    let refused: Vec<Value> = received(&ann);
    let refused = refused.iter().find(|message| message["reply_to"] == "late").unwrap();

    assert_eq!(refused["payload"]["code"], "session_ended");

    let typed = attachment.input(2, "x".into(), text_receipt(&ann, "2")).unwrap_err();

    assert_eq!(typed.code, ErrorCode::SessionEnded);

    // The last screen stays readable and keeps its size.
    let late = connection("ann");
    drop(attachment);
    let narrow = request(Role::Writer, Some(size(20, 5)));
    let _attachment = session.attach(&late, narrow).await.unwrap();

    assert_eq!(received(&late)[0]["payload"]["exit"]["code"], 3);
    fence(&session).await;
    assert_eq!(session.info().cols, 80);
}

#[tokio::test]
async fn a_dropped_terminal_is_an_unknown_exit() {
    let (hub, mut programs, _shutdown) = hub();
    let (session, program) = start(&hub, &mut programs).await;
    drop(program);
    read_until(&session, |frame| contains(frame, "exit status is unknown")).await;
    assert_eq!(session.info().exit, Some(Exit::default()));
}

#[tokio::test]
async fn a_close_hangs_up_and_waits_for_the_exit() {
    let (hub, mut programs, _shutdown) = hub();
    let (session, mut program) = start(&hub, &mut programs).await;
    let play = async {
        program.hung_up().await;
        let signal = Some("SIGHUP".to_owned());
        let exit = TerminalEvent::Exit(Exit { code: None, signal });
        program.events.send(exit).await.unwrap();
    };

    tokio::join!(hub.close_session(&session), play);

    assert_eq!(session.info().status, SessionStatus::Terminated);

    let found = hub.session(session.id(), &identity("ann"), SessionRight::Attach);

    assert_eq!(found.unwrap_err().code, ErrorCode::UnknownSession);
}

#[tokio::test]
async fn a_hangup_overtakes_pending_input_and_keeps_the_last_state() {
    let (hub, mut programs, _shutdown) = hub();
    let (session, mut program) = start(&hub, &mut programs).await;
    let ann = connection("ann");
    let attachment = session.attach(&ann, request(Role::Writer, None)).await.unwrap();

    // The queue of the program is full when the session is closed.
    while attachment.input(0, "x".into(), text_receipt(&ann, "x")).is_ok() {}
    let play = async {
        program.hung_up().await;
        drop(program);
    };

    tokio::join!(hub.close_session(&session), play);

    assert!(session.is_closed());

    // A reader that is behind gets the end, although the owner task has ended.
    let start = session.stream().start(None).await.unwrap();

    assert!(contains(start.preamble[0].plain(), "terminated"), "{:?}", start.preamble);
}

#[tokio::test]
async fn a_session_of_another_user_looks_like_a_missing_one() {
    let (hub, mut programs, _shutdown) = hub();
    let (session, _program) = start(&hub, &mut programs).await;
    let mine = hub.session(session.id(), &identity("ann"), SessionRight::Write);
    assert!(mine.is_ok());

    let theirs = hub.session(session.id(), &identity("bob"), SessionRight::Attach);

    assert_eq!(theirs.unwrap_err().code, ErrorCode::UnknownSession);
    assert_eq!(hub.sessions(&identity("ann")).len(), 1);
    assert!(hub.sessions(&identity("bob")).is_empty());
}
