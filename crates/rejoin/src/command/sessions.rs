//! `rejoin sessions` and `rejoin backup`: the store, with or without a running server.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use rejoin_adapters::{SessionArchive, SqlStore};
use rejoin_core::{SessionRow, now_ms};
use rejoin_protocol::SessionId;

use crate::{
    command::{ConfigArgs, print_line},
    data_dir,
};

/// The subcommands of `rejoin sessions`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Sessions {
    /// Print a line for each session, the newest first, also for removed ones.
    List(List),
    /// Print a session and its transitions.
    Show(Show),
    /// Print a session and its transitions as JSON.
    Export(Show),
    /// Delete the records of sessions that were removed.
    Prune(Prune),
}

/// The arguments of `rejoin sessions list`.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    config: ConfigArgs,
}

/// The arguments of `rejoin sessions show` and `rejoin sessions export`.
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    #[command(flatten)]
    config: ConfigArgs,
    /// Id of the session.
    #[arg(value_parser = parse_id)]
    session: SessionId,
}

/// The arguments of `rejoin sessions prune`.
#[derive(Debug, clap::Args)]
pub(crate) struct Prune {
    #[command(flatten)]
    config: ConfigArgs,
    /// Only those that were removed at least this long ago, such as `7d`.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    older_than: Duration,
}

/// The arguments of `rejoin backup`.
#[derive(Debug, clap::Args)]
pub(crate) struct Backup {
    #[command(flatten)]
    config: ConfigArgs,
    /// New file.
    file: PathBuf,
}

impl Sessions {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::List(List { config }) => with_store(config, async |store| {
                for row in store.sessions().await? {
                    print_line(&line(&row))?;
                }
                Ok(())
            }),
            Self::Show(Show { config, session }) => with_store(config, async |store| {
                let archive = find(&store, session).await?;
                lines(&archive).iter().try_for_each(|line| Ok(print_line(line)?))
            }),
            Self::Export(Show { config, session }) => with_store(config, async |store| {
                let archive = find(&store, session).await?;
                Ok(print_line(&serde_json::to_string_pretty(&archive)?)?)
            }),
            Self::Prune(Prune { config, older_than }) => with_store(config, async |store| {
                let age = u64::try_from(older_than.as_millis()).unwrap_or(u64::MAX);
                // One more: a session that was removed in this millisecond counts.
                let before = (now_ms() + 1).saturating_sub(age);
                let deleted = store.prune(before).await?;
                Ok(print_line(&format!("deleted the records of {deleted} removed sessions"))?)
            }),
        }
    }
}

impl Backup {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        with_store(&self.config, async |store| {
            store.backup(&self.file).await?;
            Ok(())
        })
    }
}

fn parse_id(text: &str) -> Result<SessionId, String> {
    SessionId::new(text).map_err(|error| error.to_string())
}

/// Runs a command on the store of the configured data directory.
fn with_store(
    config: &ConfigArgs,
    command: impl AsyncFnOnce(SqlStore) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let config = config.load(None)?;
    let data_dir = &config.server.data_dir;
    let Some(location) = config.store.location(data_dir)? else {
        bail!(
            "`store.url` is \"memory:\": the states are in the memory of the server, which lists \
             them over HTTP"
        );
    };
    if !data_dir.join(data_dir::NODE).exists() {
        bail!("no server has run in {}; name another one with --data-dir", data_dir.display());
    }

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { command(data_dir::open_database(data_dir, location).await?).await })
}

async fn find(store: &SqlStore, id: &SessionId) -> anyhow::Result<SessionArchive> {
    let archive = store.archive(id).await?;
    archive.with_context(|| format!("there is no record of a session `{id}`"))
}

/// Returns the line of a session in a list: columns, separated by tabs.
fn line(row: &SessionRow) -> String {
    let SessionRow { record, status, updated_at, reason, removed_at, .. } = row;
    let state = if removed_at.is_some() { "removed" } else { "present" };
    let columns = [
        record.id.as_str(),
        status.as_str(),
        state,
        record.owner.as_str(),
        record.profile.as_str(),
        &time(*updated_at),
        reason.as_deref().unwrap_or_default(),
    ];
    columns.join("\t").trim_end().to_owned()
}

/// Returns the lines that describe a session and its transitions.
fn lines(SessionArchive { row, events }: &SessionArchive) -> Vec<String> {
    let mut lines = vec![line(row)];
    let labels = [("revived from", &row.record.revived_from), ("revived as", &row.revived_as)];
    lines
        .extend(labels.iter().filter_map(|(label, id)| Some(format!("{label}\t{}", id.as_ref()?))));
    for event in events {
        let user = event.user.as_ref().map(|user| user.as_str());
        let columns = [
            &event.number.to_string(),
            &time(event.at),
            event.event.as_str(),
            event.status.as_str(),
            &event.active_connections.to_string(),
            user.unwrap_or("-"),
            event.reason.as_deref().unwrap_or_default(),
        ];
        lines.push(columns.join("\t").trim_end().to_owned());
    }
    lines
}

fn time(milliseconds: u64) -> String {
    let time = std::time::UNIX_EPOCH + Duration::from_millis(milliseconds);
    humantime::format_rfc3339_seconds(time).to_string()
}
