//! Sessions: made from profiles, looked up by those who may see them.

use std::num::NonZeroUsize;

use rejoin_protocol::{ErrorCode, ProfileName, SessionId, TerminalSize, message::ErrorBody};

use crate::{
    access::{Identity, SessionRight, new_id},
    hub::Hub,
    outside::Launch,
    session::{Birth, Session},
    stream::Retention,
};

/// Output that a terminal's stream keeps for those who come back, in bytes; who was away for
/// longer gets the screen.
const RESUME_BYTES: usize = 1024 * 1024;
/// The same, in frames.
const RESUME_FRAMES: usize = 8192;

/// What terminal to make.
#[derive(Debug)]
pub struct CreateTerminal {
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
    /// `unknown_profile`, `forbidden`, or `start_failed` with the reason.
    pub async fn create_terminal(
        &self,
        identity: &Identity,
        create: CreateTerminal,
    ) -> Result<Session, ErrorBody> {
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
        let id = SessionId::new(&new_id()).expect("a UUID is a valid id");
        let size = create.size.unwrap_or(TerminalSize::DEFAULT);
        let launch = Launch {
            session: id.clone(),
            command: profile.command.clone(),
            env: profile.env.clone(),
            cwd: create.cwd.or_else(|| profile.cwd.clone()),
            size,
        };
        let terminal = config.terminals.start(launch).await.map_err(|error| {
            let sentence = format!("the profile `{name}` could not be started: {error}");
            ErrorBody::new(ErrorCode::StartFailed, sentence)
        })?;
        let birth = Birth {
            id: id.clone(),
            owner: identity.user.clone(),
            profile: name,
            name: create.name,
            size,
            number: self.next_stream(),
            retention: Retention {
                frames: NonZeroUsize::new(RESUME_FRAMES).expect("not zero"),
                bytes: NonZeroUsize::new(RESUME_BYTES).expect("not zero"),
                age: None,
            },
            scrollback_lines: config.sessions.scrollback_lines,
            encode: config.encode,
        };
        let session = Session::start(birth, terminal, &*config.screens, &self.shared.shutdown);
        self.shared.sessions.write().insert(id, session.clone());
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
        let session = self.shared.sessions.read().get(id).cloned();
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
        let visible = sessions.values().filter(|session| {
            identity.may(session.owner(), session.profile(), SessionRight::Attach)
        });
        let mut visible: Vec<_> = visible.cloned().collect();
        visible.sort_by(|a, b| a.id().cmp(b.id()));
        visible
    }

    /// Ends a session: its program is ended, its readers are told, and it is forgotten.
    pub async fn close_session(&self, session: &Session) {
        self.shared.sessions.write().remove(session.id());
        session.close().await;
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
}
