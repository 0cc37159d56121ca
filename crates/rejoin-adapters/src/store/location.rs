//! The location of a store's database.

use std::{
    fmt,
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    str::FromStr,
};

use rejoin_core::StoreError;
use sqlx::{
    ConnectOptions,
    any::{AnyConnectOptions, install_default_drivers},
    postgres::PgConnectOptions,
    sqlite::SqliteConnectOptions,
};

/// The location of a database. Neither `Display` nor `Debug` shows the password.
#[derive(Clone)]
pub struct StoreLocation(Kind);

#[derive(Clone)]
enum Kind {
    Sqlite(PathBuf),
    Postgres { url: String, options: Box<PgConnectOptions> },
}

impl StoreLocation {
    /// Parses `sqlite:FILE`, with a file relative to `directory`, or `postgres://…`.
    ///
    /// # Errors
    /// A sentence that states what is wrong and what is allowed.
    pub fn parse(url: &str, directory: &Path) -> Result<Self, String> {
        let allowed = "write \"sqlite:FILE\" or \"postgres://USER@HOST/DATABASE\"";
        if let Some(file) = url.strip_prefix("sqlite:") {
            if file.is_empty() || file.starts_with("//") || file.contains('?') {
                return Err(format!("the file is missing or is not a path; {allowed}"));
            }
            return Ok(Self(Kind::Sqlite(directory.join(file))));
        }

        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(format!("is not the URL of a database; {allowed}"));
        }
        let options = PgConnectOptions::from_str(url).map_err(|error| {
            format!("is not the URL of a PostgreSQL database ({error}); {allowed}")
        })?;
        Ok(Self(Kind::Postgres { url: url.to_owned(), options: Box::new(options) }))
    }

    /// Returns the file of a SQLite database.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Sqlite(file) => Some(file),
            Kind::Postgres { .. } => None,
        }
    }

    /// Creates the file of a SQLite database, which only its owner may read, if it is missing.
    pub(super) fn create_file(&self) -> Result<(), StoreError> {
        let Some(file) = self.file() else { return Ok(()) };
        // Also an existing one: SQLite does not say why it cannot write to a file.
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let opened = options.open(file).map(drop);
        opened.map_err(|error| StoreError(format!("cannot write {self}: {error}")))
    }

    pub(super) fn options(&self) -> Result<AnyConnectOptions, StoreError> {
        install_default_drivers();
        let options = match &self.0 {
            Kind::Sqlite(file) => {
                let options = SqliteConnectOptions::new().filename(file);
                AnyConnectOptions::from_url(&options.to_url_lossy())
            }
            Kind::Postgres { url, .. } => AnyConnectOptions::from_str(url),
        };
        let options = options.map_err(|error| self.error(&error))?;
        // The statements contain the titles of users' sessions.
        Ok(options.disable_statement_logging())
    }

    /// Converts an error of a database to a single line.
    pub(super) fn error(&self, error: &sqlx::Error) -> StoreError {
        let text = match error {
            sqlx::Error::Database(error) => error.message().to_owned(),
            sqlx::Error::PoolTimedOut => "it does not answer".to_owned(),
            error => error.to_string(),
        };
        let text = text.lines().collect::<Vec<_>>().join("; ");
        StoreError(format!("{self}: {text}"))
    }
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Sqlite(file) => write!(f, "the database {}", file.display()),
            Kind::Postgres { options, .. } => {
                let database = options.get_database().unwrap_or_else(|| options.get_username());
                match options.get_socket() {
                    Some(socket) => write!(f, "the database {database} in {}", socket.display()),
                    None => write!(f, "the database {database} on {}", options.get_host()),
                }
            }
        }
    }
}

impl fmt::Debug for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreLocation({self})")
    }
}
