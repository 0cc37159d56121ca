//! Sessions of a hub: creation from profiles, lookups with rights, and the close.

use std::{borrow::Cow, num::NonZeroUsize, sync::Arc, time::Duration};

use rejoin_protocol::{ErrorCode, ProfileName, SessionId, TerminalSize, message::ErrorBody};
use tokio::time::timeout;

use crate::{
    access::{Authority, Identity, SessionRight, new_id},
    backend::{Launch, SessionRecord, SessionRow},
    events::HubEvent,
    hub::{
        Hub,
        config::Profile,
        lifetimes::{CANCELLED, STORE_WAIT, StartingRow},
        observer::HubObserver,
        refusals::{store_is_away, unknown_session},
    },
    session::{NewSession, Session, SessionContext},
    stream::{Retention, random_epoch},
    time::now_ms,
};

/// The output that a terminal's stream retains for resumes, in bytes. A client that is further
/// behind gets a snapshot of the screen.
const RESUME_BYTES: usize = 1024 * 1024;
/// The number of frames that a terminal's stream retains for resumes.
const RESUME_FRAMES: usize = 8192;

/// The parameters of a new terminal.
#[derive(Debug, Default)]
pub struct CreateTerminal {
    /// The id; `None`: a new one.
    pub id: Option<SessionId>,
    /// The profile; `None`: `terminal`.
    pub profile: Option<ProfileName>,
    /// The name that users see.
    pub name: Option<String>,
    /// The initial size; `None`: 80 columns and 24 rows.
    pub size: Option<TerminalSize>,
    /// The working directory; `None`: that of the profile.
    pub cwd: Option<String>,
}

/// A session that no client has seen. Dropping it records that it could not be kept.
struct Unlisted {
    session: Option<Session>,
    reason: Cow<'static, str>,
}

impl Drop for Unlisted {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            session.give_up(&self.reason);
        }
    }
}

impl Hub {
    /// Starts a terminal from a profile.
    ///
    /// # Errors
    /// `unknown_profile`, `forbidden`, `too_many_sessions`, `session_exists`, `start_failed` with
    /// the reason, `overloaded` once the hub stops or if the store does not answer, or the error of
    /// [`Authority::check`] at the moment of the start.
    pub async fn create_terminal(
        &self,
        authority: &dyn Authority,
        create: CreateTerminal,
    ) -> Result<Session, ErrorBody> {
        self.start_terminal(authority, create, None).await
    }

    /// Starts a terminal, which replaces the session `revived_from` if there is one.
    pub(super) async fn start_terminal(
        &self,
        authority: &dyn Authority,
        create: CreateTerminal,
        revived_from: Option<SessionId>,
    ) -> Result<Session, ErrorBody> {
        let identity = authority.identity();
        let config = &self.shared.config;
        let default = || ProfileName::new("terminal").expect("a valid name");
        let name = create.profile.unwrap_or_else(default);
        let profile = self.profile(&name, &identity)?;

        let new_id = || SessionId::new(&new_id()).expect("a UUID is a valid id");
        let id = create.id.unwrap_or_else(new_id);

        // Dropped on any error below, which releases the id.
        let reservation = self.shared.sessions.reserve(&id, &identity.user)?;

        let size = create.size.unwrap_or(TerminalSize::DEFAULT);
        let record = SessionRecord {
            id,
            owner: identity.user.clone(),
            profile: name.clone(),
            name: create.name,
            created_at: now_ms(),
            epoch: random_epoch(),
            size: (size.cols(), size.rows()),
            cwd: create.cwd.clone(),
            revived_from,
        };
        let row = SessionRow::new(record.clone());
        let launch = Launch {
            record,
            command: profile.command.clone(),
            env: profile.env.clone(),
            cwd: create.cwd.or_else(|| profile.cwd.clone()),
            size,
            install_hint: profile.install_hint.clone(),
        };

        authority.check()?;
        self.shared.gate.check()?;
        let idle_timeout = self.idle_timeout(profile);
        let starting = StartingRow::record(&self.shared.lifetime.recorder, row).await?;
        let terminal = match config.terminals.start(launch).await {
            Ok(terminal) => terminal,
            Err(error) => {
                let sentence = format!("the profile `{name}` could not be started: {error}");
                let error = ErrorBody::new(ErrorCode::StartFailed, sentence);
                return Err(starting.fail(error).await);
            }
        };

        // Again, because the start takes time. Dropping the terminal hangs up.
        if let Err(error) = authority.check() {
            return Err(starting.fail(error).await);
        }

        let new = NewSession {
            row: starting.started(),
            idle_timeout,
            size,
            past: None,
            number: self.shared.presence.next_stream(),
            retention: retention(),
            scrollback: config.sessions.scrollback,
            context: self.session_context(),
        };

        let (session, owner) = Session::new(new, terminal, &*config.screens);
        let mut unlisted = Unlisted { session: Some(session.clone()), reason: CANCELLED.into() };
        if let Some(handler) = self.shared.events.session_handler(&session) {
            // An error means that the event handler has set a handler itself.
            let _ = session.set_handler(handler);
        }

        // Before anything else shows the session. Dropping the owner hangs up.
        let number = session.begin();
        if timeout(STORE_WAIT, self.shared.lifetime.recorder.durable(number)).await.is_err() {
            let error = store_is_away();
            unlisted.reason = error.message.clone();
            return Err(error);
        }
        unlisted.session = None;

        // Added before the owner starts, because the owner's first event must follow
        // `SessionStarted`.
        reservation.fill(&session);
        self.shared.changes.record_created(&session);
        owner.start(&self.shared.shutdown);
        self.shared.events.deliver();
        Ok(session)
    }

    /// Returns a profile for an identity that may create sessions of it.
    fn profile(&self, name: &ProfileName, identity: &Identity) -> Result<&Profile, ErrorBody> {
        // First, so that an error does not reveal whether the profile exists.
        if !identity.caps.allows_session(name, SessionRight::Create) {
            let sentence = format!("the token does not grant `create` for sessions of `{name}`");
            return Err(ErrorBody::new(ErrorCode::Forbidden, sentence));
        }

        let profiles = &self.shared.config.profiles;
        profiles.get(name).ok_or_else(|| {
            let known: Vec<_> = profiles.keys().map(|name| format!("`{name}`")).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let sentence = format!("there is no profile `{name}`; choose one of: {known}");
            ErrorBody::new(ErrorCode::UnknownProfile, sentence)
        })
    }

    /// Returns the idle time-out of a profile's sessions; `None` if they stay.
    pub(super) fn idle_timeout(&self, profile: &Profile) -> Option<Duration> {
        profile.idle_timeout.unwrap_or(self.shared.config.sessions.idle_timeout).time()
    }

    pub(super) fn session_context(&self) -> SessionContext {
        let shared = &self.shared;
        let observer = HubObserver {
            events: shared.events.clone(),
            changes: Arc::clone(&shared.changes),
            ended: Arc::clone(&shared.ended),
        };
        SessionContext {
            presence: Arc::clone(&shared.presence),
            observer: Arc::new(observer),
            prepare: shared.config.prepare,
            threads: shared.screen_threads.clone(),
            checkpoints: shared.checkpoint_slots.clone(),
            shutdown: shared.shutdown.clone(),
            gate: shared.gate.clone(),
            lifetime: shared.lifetime.clone(),
        }
    }

    /// Returns a session for a caller with `right`.
    ///
    /// # Errors
    /// `unknown_session` if the session does not exist or the caller may not see it; `forbidden` if
    /// the caller may see it but lacks the right.
    pub fn session(
        &self,
        id: &SessionId,
        identity: &Identity,
        right: SessionRight,
    ) -> Result<Session, ErrorBody> {
        let session = self.shared.sessions.get(id).filter(|session| is_visible(session, identity));
        let Some(session) = session else {
            return Err(unknown_session(id));
        };

        if !identity.may(session.owner(), session.profile(), right) {
            return Err(ErrorCode::Forbidden.into());
        }

        Ok(session)
    }

    /// Returns the sessions that the caller may see, oldest first.
    #[must_use]
    pub fn sessions(&self, identity: &Identity) -> Vec<Session> {
        self.shared.sessions.list(|session| is_visible(session, identity))
    }

    /// Closes a session: ends the program, notifies the readers, and removes the session.
    ///
    /// Dropping the future does not stop the close. The session counts towards the user's limit
    /// until the program has ended, so that no user has more programs than sessions.
    pub async fn close_session(&self, session: &Session) {
        let (hub, session) = (self.clone(), session.clone());
        let closing = self.shared.shutdown.spawn(async move {
            session.close().await;
            if hub.shared.sessions.remove(&session) {
                let number = session.record_removed();
                tokio::select! {
                    () = hub.shared.lifetime.recorder.durable(number) => {}
                    () = hub.shared.shutdown.begun() => {}
                }
                hub.notify(HubEvent::SessionRemoved { session });
            }
        });

        let _ = closing.await;
    }

    /// Returns the profiles that the caller may start, sorted.
    #[must_use]
    pub fn profiles(&self, identity: &Identity) -> Vec<ProfileName> {
        let names = self.shared.config.profiles.keys();
        names
            .filter(|name| identity.caps.allows_session(name, SessionRight::Create))
            .cloned()
            .collect()
    }
}

/// Returns the retention of a terminal's stream.
pub(super) fn retention() -> Retention {
    Retention {
        frames: NonZeroUsize::new(RESUME_FRAMES).expect("not zero"),
        bytes: NonZeroUsize::new(RESUME_BYTES).expect("not zero"),
        age: None,
    }
}

fn is_visible(session: &Session, identity: &Identity) -> bool {
    identity.may(session.owner(), session.profile(), SessionRight::Attach)
}
