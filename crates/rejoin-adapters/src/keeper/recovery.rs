//! Recovery of the terminals of earlier processes.

use std::{fs, io, path::PathBuf, sync::Arc};

use rejoin_core::{InputKey, RecoveredTerminal, Recovery, SavedScreen, SessionRecord};
use rejoin_keeper::{
    Directory,
    log::Cursor,
    wire::{Hello, Request},
};
use rejoin_protocol::{SessionId, TerminalSize};
use tokio::{sync::Semaphore, task::spawn_blocking};
use tracing::{error, warn};

use super::{Shared, connection::Connection, files, run::Terminal};

/// The maximum number of terminals that are recovered concurrently.
const CONCURRENT: usize = 16;
/// The amount of output before the kept screen that is replayed only to the stream, in bytes.
/// Clients that were slightly behind can thus resume.
const TAIL_BYTES: u64 = 1024 * 1024;

/// The content of a terminal's directory.
struct Content {
    record: SessionRecord,
    screen: Option<SavedScreen>,
    has_keeper: bool,
}

enum Outcome {
    Found(Box<RecoveredTerminal>),
    Unanswered(SessionId),
    Nothing,
}

/// Recovers the terminals that this process does not have yet.
pub(super) async fn recover(shared: Arc<Shared>) -> Recovery {
    let root = shared.root.clone();
    let paths = spawn_blocking(move || list(root)).await;
    let paths = match paths.unwrap_or_else(|error| Err(io::Error::other(error))) {
        Ok(paths) => paths,
        Err(error) => {
            error!(%error, "the directory of the terminals cannot be read");
            return Recovery::default();
        }
    };

    // Bounded, because each recovery reads files and may wait for a keeper that is stopped.
    let turns = Arc::new(Semaphore::new(CONCURRENT));
    let mut tasks = Vec::new();
    for path in paths.into_iter().filter(|path| !shared.held.lock().contains(path)) {
        let (turns, task_shared) = (Arc::clone(&turns), Arc::clone(&shared));
        tasks.push(shared.shutdown.spawn(async move {
            let _turn = turns.acquire().await;
            recover_one(task_shared, Directory::new(path)).await
        }));
    }

    let mut recovery = Recovery::default();
    for task in tasks {
        match task.await {
            Ok(Outcome::Found(terminal)) => recovery.terminals.push(*terminal),
            Ok(Outcome::Unanswered(id)) => recovery.unanswered.push(id),
            Ok(Outcome::Nothing) | Err(_) => {}
        }
    }
    recovery
}

async fn recover_one(shared: Arc<Shared>, directory: Directory) -> Outcome {
    let path = directory.path().display().to_string();
    let to_read = directory.clone();
    let content = spawn_blocking(move || read(&to_read)).await;
    let content = match content.unwrap_or_else(|error| Err(io::Error::other(error))) {
        Ok(Some(content)) => content,
        Ok(None) => return Outcome::Nothing,
        Err(error) => {
            error!(%error, path, "a terminal of an earlier process cannot be recovered");
            return Outcome::Nothing;
        }
    };

    let connection = if content.has_keeper {
        match Connection::open(&directory).await {
            Ok(connection) => Some(connection),
            // The keeper has ended in the meantime.
            Err(_) if !directory.has_keeper().unwrap_or(true) => None,
            Err(error) => {
                warn!(%error, path, "a keeper does not answer");
                return Outcome::Unanswered(content.record.id);
            }
        }
    } else {
        None
    };

    // Another attempt, or a new session with the same id, has claimed the directory in the
    // meantime.
    if !shared.held.lock().insert(directory.path().to_owned()) {
        return Outcome::Nothing;
    }
    let terminal = match connection {
        Some((connection, hello)) => follow(&shared, directory, content, (connection, hello)),
        None => read_log(shared, directory, content).await,
    };
    Outcome::Found(Box::new(terminal))
}

/// Continues a terminal whose keeper is running.
fn follow(
    shared: &Arc<Shared>,
    directory: Directory,
    content: Content,
    (mut connection, hello): (Connection, Hello),
) -> RecoveredTerminal {
    let Content { record, screen, .. } = content;
    // If the log has lost its end, for example together with its disk, it ends before the screen.
    let screen = screen.filter(|screen| screen.offset <= hello.next);
    let offset = start(screen.as_ref()).max(hello.oldest);
    log_lost_start(&directory, screen.as_ref(), offset);
    connection.send(&Request::Follow { offset });

    // A complete log begins with the initial size. If segments were dropped, the size at the oldest
    // output is unknown, and the current one is the best guess.
    let size = if hello.oldest > 0 { (hello.size.cols, hello.size.rows) } else { record.size };
    let writers = hello.writers.into_iter().filter_map(|(writer, seq)| {
        Some(InputKey { writer: String::from_utf8(writer.into()).ok()?, seq })
    });
    let writers = writers.collect();

    let mut terminal = Terminal::new(Arc::clone(shared), directory, offset);
    count_space(shared, &mut terminal, &record, screen.as_ref());
    // The terminal continues even without a free permit, because its program is already running.
    terminal.permit = Arc::clone(&shared.permits).try_acquire_owned().ok();
    terminal.connection = Some(connection);
    terminal.replay_until = Some(hello.next);
    RecoveredTerminal {
        record,
        screen,
        offset,
        size: TerminalSize::new(size.0, size.1).unwrap_or(TerminalSize::DEFAULT),
        writers,
        live: terminal.run(),
    }
}

/// Continues a terminal whose keeper has ended.
async fn read_log(
    shared: Arc<Shared>,
    directory: Directory,
    content: Content,
) -> RecoveredTerminal {
    let Content { record, screen, .. } = content;
    let wanted = start(screen.as_ref());
    let mut cursor = Cursor::new(directory.log(), wanted);
    let first = spawn_blocking(move || cursor.read()).await;
    let first = first.ok().and_then(Result::ok).flatten();
    let offset = first.map_or(wanted, |record| record.offset.max(wanted));
    log_lost_start(&directory, screen.as_ref(), offset);

    let mut terminal = Terminal::new(Arc::clone(&shared), directory, offset);
    count_space(&shared, &mut terminal, &record, screen.as_ref());
    // Replays the whole log, up to the exit.
    terminal.replay_until = Some(u64::MAX);
    RecoveredTerminal {
        size: TerminalSize::new(record.size.0, record.size.1).unwrap_or(TerminalSize::DEFAULT),
        record,
        screen,
        offset,
        writers: Vec::new(),
        live: terminal.run(),
    }
}

/// Counts the disk space of an existing terminal.
fn count_space(
    shared: &Shared,
    terminal: &mut Terminal,
    record: &SessionRecord,
    screen: Option<&SavedScreen>,
) {
    let screen_bytes = screen.map_or(0, |screen| screen.length);
    terminal.log_space = Some(shared.space.count(&record.owner, shared.log_bytes));
    terminal.screen_space = Some(shared.space.count(&record.owner, screen_bytes));
}

/// Logs the loss of output between the kept screen and the first output of the log.
fn log_lost_start(directory: &Directory, screen: Option<&SavedScreen>, oldest: u64) {
    let drawn = screen.map_or(0, |screen| screen.offset);
    if oldest > drawn {
        files::log_lost_output(directory, drawn, oldest);
    }
}

/// Returns the offset from which output is replayed.
fn start(screen: Option<&SavedScreen>) -> u64 {
    screen.map_or(0, |screen| screen.offset.saturating_sub(TAIL_BYTES))
}

/// Lists the directories of terminals.
fn list(root: PathBuf) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry?;
        // Lists symbolic links, so that they are refused with a log line.
        if !entry.file_type()?.is_file() {
            paths.push(entry.path());
        }
    }
    Ok(paths)
}

/// Reads the files of a terminal. Removes the directory of a start that a crash interrupted.
fn read(directory: &Directory) -> io::Result<Option<Content>> {
    directory.check()?;
    let record = files::read_record(directory)?;
    let has_keeper = directory.has_keeper()?;
    let is_empty = fs::read_dir(directory.log()).map_or(true, |mut log| log.next().is_none());
    // A crash interrupted the start: a keeper writes to its log before it starts to serve.
    if !has_keeper && is_empty {
        directory.kill_session();
        fs::remove_dir_all(directory.path())?;
        return Ok(None);
    }

    let Some(record) = record else {
        return Err(io::Error::other("the record of its session is missing"));
    };
    let screen = files::open_screen(directory).unwrap_or_else(|error| {
        warn!(%error, "a kept screen cannot be read; the log is replayed");
        None
    });
    Ok(Some(Content { record, screen, has_keeper }))
}
