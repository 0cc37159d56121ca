//! The start of a terminal in a new keeper.

use std::{fs, io, process::Child, sync::Arc, time::Duration};

use rejoin_core::{Launch, LiveTerminal, SessionRecord, StartError};
use rejoin_keeper::{
    Directory,
    launch::{self, Started},
    wire::Request,
};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use super::{KeeperCommand, Shared, connection::Connection, files, run::Terminal};
use crate::program::{Program, no_terminal, resolve, start_error};

/// The maximum wait for the removal of an earlier session with the same id.
const REMOVAL: Duration = Duration::from_secs(5);
/// The interval at which the removal is checked.
const POLL: Duration = Duration::from_millis(5);

/// Starts a program in a new keeper.
pub(super) async fn start(shared: Arc<Shared>, launch: Launch) -> Result<LiveTerminal, StartError> {
    let permit = Arc::clone(&shared.permits).try_acquire_owned().map_err(|_| {
        let sentence = "the server has no free file descriptors for another terminal; \
                        end a session and try again";
        StartError(sentence.to_owned())
    })?;

    let space = shared.space.reserve(&launch.record.owner, shared.log_bytes);
    let space = space.map_err(|error| StartError(error.to_string()))?;

    let Program { words, env, directory: cwd } = resolve(&launch, &shared.env)?;
    let program = words[0].clone();
    let keeper_launch = launch::Launch {
        command: words,
        env: env.into_iter().collect(),
        cwd: cwd.to_string_lossy().into_owned(),
        cols: launch.size.cols(),
        rows: launch.size.rows(),
        log_bytes: shared.log_bytes,
        open_files: shared.open_files,
        groups: shared.keeper.groups.clone(),
    };

    let directory = shared.directory(&launch.record.id);
    hold(&shared, &directory).await?;
    let (record, keeper) = (launch.record.clone(), shared.keeper.clone());
    let keeper_directory = directory.clone();
    let started =
        spawn_blocking(move || start_keeper(&keeper, &keeper_directory, &record, &keeper_launch));
    let started = started.await.unwrap_or_else(|error| Err(error.into()));

    let result = match started {
        Ok((process, Started::Running { .. })) => connect(process, &directory).await,
        Ok((mut process, refusal)) => {
            // The keeper's process ends after its answer.
            let _ = spawn_blocking(move || process.wait()).await;
            Err(refused(&program, &launch, refusal))
        }
        Err(error) => Err(no_terminal(error)),
    };

    match result {
        Ok((process, connection)) => {
            let mut terminal = Terminal::new(Arc::clone(&shared), directory, 0);
            terminal.process = Some(process);
            terminal.permit = Some(permit);
            terminal.log_space = Some(space);
            terminal.connection = connection;
            Ok(terminal.run())
        }
        Err(error) => {
            let path = directory.path().to_owned();
            let _ = spawn_blocking(move || fs::remove_dir_all(path)).await;
            shared.held.lock().remove(directory.path());
            Err(error)
        }
    }
}

/// Claims the directory for a terminal of this process, after an earlier terminal has removed it.
async fn hold(shared: &Shared, directory: &Directory) -> Result<(), StartError> {
    let deadline = Instant::now() + REMOVAL;
    while !shared.held.lock().insert(directory.path().to_owned()) {
        if Instant::now() >= deadline {
            return Err(StartError("an earlier session with this id is still ending".to_owned()));
        }
        sleep(POLL).await;
    }

    // An earlier process left it, with a keeper that did not respond to the recovery.
    if directory.path().exists() {
        shared.held.lock().remove(directory.path());
        let sentence = "a terminal with this id, which does not answer, exists already";
        return Err(StartError(sentence.to_owned()));
    }
    Ok(())
}

fn start_keeper(
    keeper: &KeeperCommand,
    directory: &Directory,
    record: &SessionRecord,
    launch: &launch::Launch,
) -> io::Result<(Child, Started)> {
    directory.create()?;
    // Written before the program starts: a crash must not leave a program without a session.
    files::write_record(directory.path(), record)?;
    launch::start(&keeper.executable, keeper.arguments, directory, launch)
}

async fn connect(
    mut process: Child,
    directory: &Directory,
) -> Result<(Child, Option<Connection>), StartError> {
    match Connection::open(directory).await {
        Ok((mut connection, _)) => {
            connection.send(&Request::Follow { offset: 0 });
            Ok((process, Some(connection)))
        }
        // The program has already ended. Its output and its exit are in the log.
        Err(_) if !directory.has_keeper().unwrap_or(true) => Ok((process, None)),
        Err(error) => {
            let directory = directory.clone();
            let end = move || {
                let _ = process.kill();
                let _ = process.wait();
                directory.kill_session();
            };
            let _ = spawn_blocking(end).await;
            Err(no_terminal(error))
        }
    }
}

fn refused(program: &str, launch: &Launch, refusal: Started) -> StartError {
    match refusal {
        Started::NotFound => start_error(program, launch, &io::ErrorKind::NotFound.into()),
        Started::PermissionDenied => {
            start_error(program, launch, &io::ErrorKind::PermissionDenied.into())
        }
        Started::Failed { reason } => {
            StartError(format!("the command `{program}` could not be run: {reason}"))
        }
        Started::Running { .. } => no_terminal("the keeper's answer is invalid"),
    }
}
