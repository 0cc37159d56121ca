//! The directory of one terminal.

use std::{
    borrow::Cow,
    fs::{self, DirBuilder, File},
    io,
    os::{
        fd::AsRawFd,
        unix::{
            fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};

/// The file that names the program's session.
pub(crate) const LEADER: &str = "leader.json";

/// The directory of one terminal: the keeper's socket, its lock and its log.
///
/// Only the server's user can enter it (mode 0700).
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Returns a handle to the directory at `path`, which need not exist.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Creates the directory and its parents.
    ///
    /// # Errors
    /// If the directory exists already or cannot be created.
    pub fn create(&self) -> io::Result<()> {
        if let Some(parent) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        // Not recursive, so that the second of two starts with the same id fails.
        DirBuilder::new().mode(0o700).create(&self.path)?;
        DirBuilder::new().mode(0o700).create(self.log())
    }

    /// Returns the path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the name of the directory, which names the terminal.
    pub(crate) fn name(&self) -> Cow<'_, str> {
        self.path.file_name().unwrap_or_default().to_string_lossy()
    }

    /// Returns the directory of the log's segments.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Returns the path of the file that names the program's session.
    pub(crate) fn leader(&self) -> PathBuf {
        self.path.join(LEADER)
    }

    /// Checks that only this process's user could have placed files in the directory.
    ///
    /// # Errors
    /// Same as [`check_private`].
    pub fn check(&self) -> io::Result<()> {
        check_private(&self.path)
    }

    /// Opens a file in the directory for reading. Does not block if the file is a FIFO.
    ///
    /// # Errors
    /// If the file cannot be opened, is a symbolic link, or is not a regular file.
    pub fn open(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
        let file = File::options().read(true).custom_flags(flags).open(self.path.join(name))?;
        if file.metadata()?.is_file() {
            return Ok(file);
        }
        let sentence = format!("`{name}` is not a regular file");
        Err(io::Error::new(io::ErrorKind::InvalidData, sentence))
    }

    /// Returns `true` while a keeper runs in this directory.
    ///
    /// # Errors
    /// If the lock file exists but cannot be opened.
    pub fn has_keeper(&self) -> io::Result<bool> {
        let file = match self.open("lock") {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };

        // Fails while the keeper holds the exclusive lock. Concurrent checks can share theirs.
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the lock, which a keeper holds until its process ends.
    pub(crate) fn lock(&self) -> io::Result<File> {
        let file = File::create(self.path.join("lock"))?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        // The lock belongs to the open file, so the system releases it however the process ends.
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(file)
    }

    /// Binds the keeper's socket.
    pub(crate) fn listen(&self) -> io::Result<UnixListener> {
        let (_directory, path) = self.socket()?;
        let listener = UnixListener::bind(&path)?;
        // Until here, the umask determines the socket's permissions, but the directory protects it.
        fs::set_permissions(self.path.join("socket"), fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// Connects to the keeper.
    ///
    /// # Errors
    /// If no keeper is listening, or if another user's process is.
    pub fn connect(&self) -> io::Result<UnixStream> {
        let (_directory, path) = self.socket()?;
        let stream = UnixStream::connect(path)?;
        check_peer(&stream)?;
        Ok(stream)
    }

    /// Returns a path of the socket that fits into a socket address (108 bytes) however long the
    /// directory's path is, and the descriptor that keeps the path valid.
    fn socket(&self) -> io::Result<(rustix::fd::OwnedFd, PathBuf)> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(&self.path, flags, Mode::empty())?;
        let path = format!("/proc/self/fd/{}/socket", directory.as_raw_fd());
        Ok((directory, PathBuf::from(path)))
    }
}

/// Checks that `path` is a directory that only this process's user can enter.
///
/// # Errors
/// If it is not a directory, belongs to another user, or has a mode that lets other users in.
pub fn check_private(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    let mode = metadata.mode() & 0o7777;
    let reason = if !metadata.is_dir() {
        "it is not a directory".to_owned()
    } else if owner != user {
        format!("user {owner} owns it, and rejoin runs as user {user}")
    } else if mode & 0o077 != 0 {
        format!("other users have access (mode {mode:04o}); 0700 is required")
    } else {
        return Ok(());
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, reason))
}

/// Refuses a peer that belongs to another user, because the socket may have been planted.
pub(crate) fn check_peer(stream: &UnixStream) -> io::Result<()> {
    let peer = rustix::net::sockopt::socket_peercred(stream)?;
    if peer.uid == rustix::process::geteuid() {
        return Ok(());
    }
    let sentence = "the process at the other end of the keeper's socket belongs to another user";
    Err(io::Error::new(io::ErrorKind::PermissionDenied, sentence))
}
