//! Sessions: made from profiles, looked up by those who may see them.

use std::{num::NonZeroUsize, sync::Arc};

use rejoin_protocol::{
    ErrorCode, ProfileName, SessionId, TerminalSize, UserId, message::ErrorBody,
};

use crate::{
    access::{Authority, Identity, SessionRight, new_id},
    backend::Launch,
    events::{Events, HubEvent},
    hub::{Gate, Hub, changes::SessionChanges},
    presence::PresenceContext,
    session::{NewSession, ScreenThreads, Session},
    shutdown::Shutdown,
    stream::Retention,
    wire::Prepare,
};

/// Output that a terminal's stream keeps for those who come back, in bytes; who was away for
/// longer gets the screen.
const RESUME_BYTES: usize = 1024 * 1024;
/// The same, in frames.
const RESUME_FRAMES: usize = 8192;

/// What a session uses of its hub.
#[derive(Clone, Debug)]
pub(crate) struct SessionContext {
    pub(crate) places: Arc<PresenceContext>,
    pub(crate) events: Events,
    pub(crate) changes: Arc<SessionChanges>,
    /// Which forms of a snapshot are made with it.
    pub(crate) prepare: Prepare,
    pub(crate) threads: ScreenThreads,
    pub(crate) shutdown: Shutdown,
    pub(crate) gate: Gate,
}

/// What terminal to make.
#[derive(Debug, Default)]
pub struct CreateTerminal {
    /// The id that it gets; a new one if none is given.
    pub id: Option<SessionId>,
    /// The profile; `terminal` if none is named.
    pub profile: Option<ProfileName>,
    /// What the person calls it.
    pub name: Option<String>,
    /// The first size.
    pub size: Option<TerminalSize>,
    /// Where the program starts.
    pub cwd: Option<String>,
}

impl Hub {
    /// Starts a terminal from a profile.
    ///
    /// # Errors
    /// `unknown_profile`, `forbidden`, `too_many_sessions`, `session_exists`, `start_failed` with
    /// the reason, `overloaded` once the hub stops, or the error of [`Authority::check`] at the
    /// moment of the start.
    pub async fn create_terminal(
        &self,
        authority: &dyn Authority,
        create: CreateTerminal,
    ) -> Result<Session, ErrorBody> {
        let identity = authority.identity();
        let config = &self.shared.config;
        let default = || ProfileName::new("terminal").expect("a valid name");
        let name = create.profile.unwrap_or_else(default);
        if !identity.caps.allows_session(&name, SessionRight::Create) {
            let sentence = format!("the token does not allow to create sessions of `{name}`");
            return Err(ErrorBody::new(ErrorCode::Forbidden, sentence));
        }
        let Some(profile) = config.profiles.get(&name) else {
            let known: Vec<_> = config.profiles.keys().map(|name| format!("`{name}`")).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let sentence = format!("there is no profile `{name}`; there is: {known}");
            return Err(ErrorBody::new(ErrorCode::UnknownProfile, sentence));
        };
        let id = create.id;
        let id = id.unwrap_or_else(|| SessionId::new(&new_id()).expect("a UUID is a valid id"));
        let place = self.reserve_session(&id, &identity.user)?;
        let size = create.size.unwrap_or(TerminalSize::DEFAULT);
        let launch = Launch {
            session: id.clone(),
            command: profile.command.clone(),
            env: profile.env.clone(),
            cwd: create.cwd.or_else(|| profile.cwd.clone()),
            size,
            install_hint: profile.install_hint.clone(),
        };
        authority.check()?;
        self.shared.gate.check()?;
        let terminal = config.terminals.start(launch).await.map_err(|error| {
            let sentence = format!("the profile `{name}` could not be started: {error}");
            ErrorBody::new(ErrorCode::StartFailed, sentence)
        })?;
        // The start takes a while. Dropping the terminal hangs up.
        authority.check()?;
        let birth = NewSession {
            id: id.clone(),
            owner: identity.user.clone(),
            profile: name,
            name: create.name,
            size,
            number: self.shared.tools.next_stream(),
            retention: Retention {
                frames: NonZeroUsize::new(RESUME_FRAMES).expect("not zero"),
                bytes: NonZeroUsize::new(RESUME_BYTES).expect("not zero"),
                age: None,
            },
            scrollback: config.sessions.scrollback,
            tools: SessionContext {
                prepare: config.prepare,
                threads: self.shared.screen_threads.clone(),
                shutdown: self.shared.shutdown.clone(),
                places: Arc::clone(&self.shared.tools),
                gate: self.shared.gate.clone(),
                events: self.shared.events.clone(),
                changes: Arc::clone(&self.shared.changes),
            },
        };
        let (session, owner) = Session::new(birth, terminal, &*config.screens);
        if let Some(handler) = self.shared.events.session_handler(&session) {
            // An error means that the handler was set meanwhile, by whoever was asked for it.
            let _ = session.set_handler(handler);
        }
        place.fill(&session);
        self.shared.changes.created(&session);
        owner.start(&self.shared.shutdown);
        self.shared.events.deliver();
        Ok(session)
    }

    /// Looks up a session that the caller may use in this way.
    ///
    /// # Errors
    /// `unknown_session`, whether it does not exist or is not theirs; `forbidden` if they may
    /// see it but not do this.
    pub fn session(
        &self,
        id: &SessionId,
        identity: &Identity,
        right: SessionRight,
    ) -> Result<Session, ErrorBody> {
        let session = self.shared.sessions.read().get(id).and_then(Slot::session);
        let visible = |session: &Session| {
            identity.may(session.owner(), session.profile(), SessionRight::Attach)
        };
        let Some(session) = session.filter(visible) else {
            let sentence = format!("there is no session `{id}`, or it is not yours");
            return Err(ErrorBody::new(ErrorCode::UnknownSession, sentence));
        };
        if !identity.may(session.owner(), session.profile(), right) {
            return Err(ErrorCode::Forbidden.into());
        }
        Ok(session)
    }

    /// The sessions that the caller may see, oldest first.
    #[must_use]
    pub fn sessions(&self, identity: &Identity) -> Vec<Session> {
        let sessions = self.shared.sessions.read();
        let visible = sessions.values().filter_map(Slot::session).filter(|session| {
            identity.may(session.owner(), session.profile(), SessionRight::Attach)
        });
        let mut visible: Vec<_> = visible.collect();
        visible.sort_by(|a, b| a.id().cmp(b.id()));
        visible
    }

    /// Ends a session: its program is ended, its readers are told, and it is forgotten.
    ///
    /// Cancel safe: it goes on without the caller. Until the program is gone, the session has its
    /// place, so that nobody has more programs than sessions.
    pub async fn close_session(&self, session: &Session) {
        let (hub, session) = (self.clone(), session.clone());
        let closing = self.shared.shutdown.spawn(async move {
            session.close().await;
            hub.forget_session(&session);
        });
        let _ = closing.await;
    }

    fn forget_session(&self, session: &Session) {
        {
            let mut sessions = self.shared.sessions.write();
            // Another session may have the id by now, if somebody else closed this one.
            let is_there = |slot: &Slot| slot.session().is_some_and(|there| there.is(session));
            if !sessions.get(session.id()).is_some_and(is_there) {
                return;
            }
            sessions.remove(session.id());
            // With the lock held, so that it is noted before the next session of this id.
            self.shared.changes.removed(session);
        }
        self.tell(HubEvent::SessionRemoved { session: session.clone() });
    }

    /// The profiles that the caller may start, sorted.
    #[must_use]
    pub fn profiles(&self, identity: &Identity) -> Vec<ProfileName> {
        let names = self.shared.config.profiles.keys();
        names
            .filter(|name| identity.caps.allows_session(name, SessionRight::Create))
            .cloned()
            .collect()
    }

    /// Takes an id before the program is started, so that no two sessions get it, and no user
    /// more sessions than allowed.
    fn reserve_session(&self, id: &SessionId, user: &UserId) -> Result<Reserved<'_>, ErrorBody> {
        let limit = self.shared.config.limits.sessions_per_user;
        let mut sessions = self.shared.sessions.write();
        if sessions.contains_key(id) {
            let sentence = format!("there is a session `{id}` already; choose another id");
            return Err(ErrorBody::new(ErrorCode::SessionExists, sentence));
        }
        if sessions.values().filter(|slot| slot.user() == user).count() >= limit {
            self.shared.metrics.rate_limited("sessions");
            let sentence = format!("the user has {limit} sessions; close one first");
            return Err(ErrorBody::new(ErrorCode::TooManySessions, sentence));
        }
        sessions.insert(id.clone(), Slot::Starting(user.clone()));
        Ok(Reserved { hub: self, id: id.clone(), is_filled: false })
    }
}

/// An id's place among the sessions.
#[derive(Debug)]
pub(super) enum Slot {
    /// The program is being started for this user.
    Starting(UserId),
    There(Session),
}

impl Slot {
    pub(super) fn session(&self) -> Option<Session> {
        match self {
            Self::Starting(_) => None,
            Self::There(session) => Some(session.clone()),
        }
    }

    fn user(&self) -> &UserId {
        match self {
            Self::Starting(user) => user,
            Self::There(session) => session.owner(),
        }
    }
}

/// An id that is taken; dropping it lets go of the id, unless a session filled its place.
struct Reserved<'a> {
    hub: &'a Hub,
    id: SessionId,
    is_filled: bool,
}

impl Reserved<'_> {
    /// Lets the session be found. That it is there is its first event.
    fn fill(mut self, session: &Session) {
        self.is_filled = true;
        let mut sessions = self.hub.shared.sessions.write();
        sessions.insert(self.id.clone(), Slot::There(session.clone()));
        self.hub.shared.events.note(HubEvent::SessionStarted { session: session.clone() });
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if !self.is_filled {
            self.hub.shared.sessions.write().remove(&self.id);
        }
    }
}
