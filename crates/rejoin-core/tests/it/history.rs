//! Pages of a session's history, and the screen after a change of size.

use rejoin_core::{HistoryQuery, TerminalEvent};
use rejoin_protocol::{ErrorCode, Role};

use crate::{
    session::{contains, fence, read_until, request, size, start},
    support::{connection, hub},
};

const PAGE: HistoryQuery = HistoryQuery { before: None, generation: None, lines: 10 };

#[tokio::test]
async fn a_fifth_concurrent_request_for_history_is_refused() {
    let (hub, mut programs, _shutdown) = hub();
    let (session, _program) = start(&hub, &mut programs).await;

    // The owner task does not run before all five have asked.
    let page = || session.history(PAGE);
    let pages = tokio::join!(page(), page(), page(), page(), page());
    assert!(pages.0.is_ok() && pages.1.is_ok() && pages.2.is_ok() && pages.3.is_ok());
    assert_eq!(pages.4.unwrap_err().code, ErrorCode::Overloaded);

    assert!(page().await.is_ok());
}

#[tokio::test]
async fn readers_get_the_screen_once_after_a_change_of_size() {
    let (hub, mut programs, _shutdown) = hub();
    let (session, program) = start(&hub, &mut programs).await;
    program.events.send(TerminalEvent::Output("before".into())).await.unwrap();
    read_until(&session, |frame| frame.ends_with(b"before")).await;

    // The attach is answered with the snapshot that the change of size requires.
    let ann = connection("ann");
    let _attachment =
        session.attach(&ann, request(Role::Writer, Some(size(120, 40)))).await.unwrap();
    let (next, _) = session.stream().next();
    let start = session.stream().start(None).await.unwrap();
    assert_eq!((start.replayed, start.reader.next), (0, next));

    // Two changes at once are one screen.
    session.resize(size(50, 20)).unwrap();
    session.resize(size(60, 20)).unwrap();
    fence(&session).await;
    program.events.send(TerminalEvent::Output("after".into())).await.unwrap();

    let frames = read_until(&session, |frame| frame.ends_with(b"after")).await;
    let size_60 = frames.iter().position(|frame| contains(frame, "\"cols\":60")).unwrap();
    let later: Vec<_> = frames[size_60 + 1..].iter().collect();
    assert_eq!(later.len(), 3, "{later:?}");
    assert!(contains(later[0], "\"history\":"), "{later:?}");
    assert!(later[1].ends_with(b"before"), "{later:?}");
    let screens = frames.iter().filter(|frame| frame.ends_with(b"before")).count();
    assert_eq!(screens, 3, "one output, and a screen for each of two changes: {frames:?}");
}
