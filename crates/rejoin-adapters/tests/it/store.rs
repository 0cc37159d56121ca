//! The conformance of stores: memory, SQLite, and a PostgreSQL server of the test.

use std::{future::Future, path::Path};

use rejoin_adapters::{SqlStore, StoreLocation};
use rejoin_core::{
    Change, EVENTS_PER_SESSION, EventKind, MemoryStore, RowStatus, SessionEvent, SessionRecord,
    SessionRow, Store, StoredDeadline,
};
use rejoin_protocol::{Exit, ProfileName, SessionId, UserId};

use crate::postgres::Postgres;

/// Runs a test with each store.
async fn with_each_store<F: Future<Output = ()>>(test: impl Fn(Box<dyn Store>) -> F) {
    test(Box::new(MemoryStore::default())).await;

    let directory = tempfile::tempdir().unwrap();
    test(Box::new(sqlite(directory.path()).await)).await;

    let postgres = Postgres::start();
    test(Box::new(SqlStore::open(postgres_location(&postgres), "node-a").await.unwrap())).await;
}

async fn sqlite(directory: &Path) -> SqlStore {
    SqlStore::open(location(directory), "node-a").await.unwrap()
}

fn location(directory: &Path) -> StoreLocation {
    StoreLocation::parse("sqlite:rejoin.db", directory).unwrap()
}

fn postgres_location(postgres: &Postgres) -> StoreLocation {
    StoreLocation::parse(&postgres.url(), Path::new("/")).unwrap()
}

/// Returns the error of a database that cannot be opened.
async fn open_error(directory: &Path) -> String {
    SqlStore::open(location(directory), "node-a").await.unwrap_err().to_string()
}

fn row(id: &str) -> SessionRow {
    SessionRow::new(SessionRecord {
        id: SessionId::new(id).unwrap(),
        owner: UserId::new("ann").unwrap(),
        profile: ProfileName::new("terminal").unwrap(),
        name: Some("wörk".to_owned()),
        created_at: 1_800_000_000_000,
        epoch: u64::MAX,
        size: (80, 24),
        cwd: Some("/srv".to_owned()),
        revived_from: SessionId::new("lost-1").ok(),
    })
}

fn event(number: u64) -> SessionEvent {
    SessionEvent {
        number,
        at: 1_800_000_000_000 + number,
        event: EventKind::Attached,
        status: RowStatus::Active,
        active_connections: number % 7,
        user: Some(UserId::new("ann").unwrap()),
        reason: None,
    }
}

fn change(mut row: SessionRow, events: Vec<SessionEvent>) -> Change {
    row.last_event = events.last().map_or(row.last_event, |event| event.number);
    Change::Session { row: Box::new(row), events }
}

fn id(id: &str) -> SessionId {
    SessionId::new(id).unwrap()
}

#[tokio::test]
async fn a_row_is_read_as_it_was_written() {
    with_each_store(async |store| {
        let mut full = row("s-1");
        full.status = RowStatus::Error;
        full.active_connections = 3;
        full.destroy_at = Some(1_800_000_000_123);
        full.deadline = Some(StoredDeadline { boot: "boot".to_owned(), at: 42 });
        full.exit = Some(Exit { code: None, signal: Some("SIGKILL".to_owned()) });
        full.reason = Some("the program was ended by SIGKILL".to_owned());
        full.revived_as = SessionId::new("s-9").ok();
        full.title = "vim — «a»".to_owned();
        let empty = row("s-2");
        store.commit(&[change(full.clone(), vec![]), change(empty.clone(), vec![])]).await.unwrap();
        let mut rows = store.load().await.unwrap();
        rows.sort_by(|a, b| a.record.id.cmp(&b.record.id));
        assert_eq!(rows, [full.clone(), empty]);

        // The same commit again changes nothing; a later one replaces the row.
        full.exit = Some(Exit::default());
        full.removed_at = Some(1_800_000_000_500);
        store.commit(&[change(full.clone(), vec![])]).await.unwrap();
        assert_eq!(store.session(&id("s-1")).await.unwrap(), Some(full));
        assert_eq!(store.load().await.unwrap().len(), 1);
        assert_eq!(store.session(&id("s-3")).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_history_is_paged_bounded_and_repeatable() {
    with_each_store(async |store| {
        let events: Vec<_> = (1..=EVENTS_PER_SESSION).map(event).collect();
        let commit = [change(row("s-1"), events)];
        store.commit(&commit).await.unwrap();
        store.commit(&commit).await.unwrap();
        let read =
            async |after, limit| store.session_events(&id("s-1"), after, limit).await.unwrap();
        assert_eq!(read(1, 2).await, [event(2), event(3)]);

        // The oldest ones go, and those of other sessions stay.
        store.commit(&[change(row("s-2"), vec![event(1)])]).await.unwrap();
        let (first, second) = (EVENTS_PER_SESSION + 1, EVENTS_PER_SESSION + 2);
        store.commit(&[change(row("s-1"), vec![event(first), event(second)])]).await.unwrap();
        let all = read(0, 2000).await;
        assert_eq!((all[0].number, all.len() as u64), (3, EVENTS_PER_SESSION));
        assert_eq!(store.session_events(&id("s-2"), 0, 9).await.unwrap(), [event(1)]);

        // A new session with the id of an earlier one has its own history.
        store.commit(&[change(row("s-1"), vec![event(1)])]).await.unwrap();
        assert_eq!(read(0, 9).await, [event(1)]);
    })
    .await;
}

#[tokio::test]
async fn activity_is_written_for_many_sessions() {
    with_each_store(async |store| {
        let names: Vec<_> = (0..1500).map(|number| format!("s-{number:04}")).collect();
        let rows: Vec<_> = names.iter().map(|name| change(row(name), vec![])).collect();
        store.commit(&rows).await.unwrap();

        let at = |index: usize| 1_900_000_000_000 + index as u64;
        let mut times: Vec<_> =
            names.iter().enumerate().map(|(index, name)| (id(name), at(index))).collect();
        // A session that was removed meanwhile.
        times.push((id("missing"), 1));
        store.commit(&[Change::Activity(times)]).await.unwrap();
        for index in [0, 999, 1000, 1499] {
            let row = store.session(&id(&names[index])).await.unwrap().unwrap();
            assert_eq!(row.last_activity_at, at(index));
        }
    })
    .await;
}

#[tokio::test]
async fn pruning_deletes_old_and_excess_removed_sessions() {
    with_each_store(async |store| {
        let mut changes = vec![change(row("present"), vec![event(1)])];
        for number in 1..=5 {
            let mut removed = row(&format!("s-{number}"));
            removed.removed_at = Some(number * 100);
            changes.push(change(removed, vec![event(1)]));
        }
        store.commit(&changes).await.unwrap();
        store.commit(&[Change::Prune { removed_before: 200, keep: 3 }]).await.unwrap();

        for (name, stays) in
            [("s-1", false), ("s-2", false), ("s-3", true), ("s-5", true), ("present", true)]
        {
            assert_eq!(store.session(&id(name)).await.unwrap().is_some(), stays, "{name}");
            let events = store.session_events(&id(name), 0, 9).await.unwrap();
            assert_eq!(!events.is_empty(), stays, "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn servers_that_share_a_database_see_their_own_sessions() {
    let postgres = Postgres::start();
    let first = SqlStore::open(postgres_location(&postgres), "node-a").await.unwrap();
    let second = SqlStore::open(postgres_location(&postgres), "node-b").await.unwrap();
    first.commit(&[change(row("s-1"), vec![event(1)])]).await.unwrap();
    assert_eq!(second.load().await.unwrap(), []);
    assert_eq!(second.session_events(&id("s-1"), 0, 9).await.unwrap(), []);

    // Also with the same id.
    let mut other = row("s-1");
    other.title = "other".to_owned();
    second.commit(&[change(other, vec![event(1)])]).await.unwrap();
    second.prune(u64::MAX).await.unwrap();
    assert_eq!(first.load().await.unwrap()[0].title, "");
    assert_eq!(first.session_events(&id("s-1"), 0, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_store_survives_a_restart_of_its_database() {
    let postgres = Postgres::start();
    let store = SqlStore::open(postgres_location(&postgres), "node-a").await.unwrap();
    store.commit(&[change(row("s-1"), vec![event(1)])]).await.unwrap();

    postgres.stop();
    let error = store.commit(&[change(row("s-2"), vec![])]).await.unwrap_err().to_string();
    assert!(error.starts_with("the database postgres in /") && !error.contains('\n'), "{error}");

    postgres.start_again();
    store.commit(&[change(row("s-2"), vec![])]).await.unwrap();
    assert_eq!(store.load().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_file_that_was_removed_is_created_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = sqlite(directory.path()).await;
    store.commit(&[change(row("s-1"), vec![])]).await.unwrap();

    for file in ["rejoin.db", "rejoin.db-wal", "rejoin.db-shm"] {
        std::fs::remove_file(directory.path().join(file)).unwrap();
    }
    store.commit(&[change(row("s-2"), vec![])]).await.unwrap();
    let again = sqlite(directory.path()).await;
    assert_eq!(again.load().await.unwrap(), [row("s-2")]);
}

#[tokio::test]
async fn unusable_files_are_refused_with_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rejoin.db");
    std::fs::write(&path, "this is a text file, and long enough to have a header".repeat(100))
        .unwrap();
    let error = open_error(directory.path()).await;
    assert!(error.contains("file is not a database"), "{error}");

    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let error = open_error(directory.path()).await;
    assert!(error.contains("cannot write") && error.contains("Is a directory"), "{error}");
    std::fs::remove_dir(&path).unwrap();

    // A database whose pages are overwritten.
    let store = sqlite(directory.path()).await;
    let rows: Vec<_> = (0..500).map(|number| change(row(&format!("s-{number}")), vec![])).collect();
    store.commit(&rows).await.unwrap();
    store.backup(&directory.path().join("copy")).await.unwrap();
    drop(store);
    let mut bytes = std::fs::read(directory.path().join("copy")).unwrap();
    bytes[8192..40960].fill(0xff);
    for file in ["rejoin.db", "rejoin.db-wal", "rejoin.db-shm"] {
        let _ = std::fs::remove_file(directory.path().join(file));
    }
    std::fs::write(&path, bytes).unwrap();
    let error = open_error(directory.path()).await;
    assert!(error.contains("damaged") || error.contains("malformed"), "{error}");
    assert!(!error.contains('\n'), "{error}");
}

#[tokio::test]
async fn a_backup_is_complete_and_replaces_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let store = sqlite(directory.path()).await;
    store.commit(&[change(row("s-1"), vec![event(1)])]).await.unwrap();
    let backup = directory.path().join("backup");
    store.backup(&backup).await.unwrap();
    let error = store.backup(&backup).await.unwrap_err().to_string();
    assert!(error.contains("exists already"), "{error}");

    let copy = StoreLocation::parse("sqlite:backup", directory.path()).unwrap();
    let copy = SqlStore::open(copy, "node-a").await.unwrap();
    let archive = copy.archive(&id("s-1")).await.unwrap().unwrap();
    assert_eq!(archive.events, [event(1)]);
}

#[test]
fn a_url_of_no_database_is_refused_without_its_password() {
    for url in ["mysql://root:secret@host/db", "sqlite:", "sqlite://x", "postgres://u:secret@[::"] {
        let error = StoreLocation::parse(url, Path::new("/")).unwrap_err();
        assert!(error.contains("write \"sqlite:FILE\""), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    let location = StoreLocation::parse("postgres://u:secret@host/db", Path::new("/")).unwrap();
    assert_eq!(format!("{location} {location:?}").matches("secret").count(), 0);
}
