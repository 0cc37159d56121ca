//! A place: a room with those who listen to it.

use std::{
    collections::HashMap,
    fmt, mem,
    num::NonZeroUsize,
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use rejoin_protocol::{
    Position, StreamNumber, Subject, UserId, limits,
    message::{PresenceChange, PresenceMember, PresenceState, ServerMessage, text},
};
use tokio::time::Instant;

use crate::{
    connection::Connection,
    events::{Events, HubEvent},
    outside::BoxFuture,
    presence::{Change, ChangeKind, Member, Room, Settled, Settling, settling::Due},
    stream::{Holders, Lag, Reader, Retention, Snapshot, SnapshotSource, Stream, StreamConfig},
    wire::{Encode, Kind},
};

/// Users in a place above which single changes are not told, but the counts, once a second; the
/// same holds for more members than one state lists.
const MAX_DETAILED_USERS: usize = 500;
/// How often counts are told at most.
const COUNTS_INTERVAL: Duration = Duration::from_secs(1);
/// Changes that a listener may be behind before it gets the state instead.
const KEPT_CHANGES: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");
/// The same in bytes.
const KEPT_BYTES: NonZeroUsize = NonZeroUsize::new(64 * 1024).expect("not zero");
/// How long changes are kept: who asks anew gets the state.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// What places share.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) encode: Encode,
    /// The next stream's number: never used twice in a process's life.
    pub(crate) next_stream: AtomicU32,
    /// How long somebody may be away before it is told that they left.
    pub(crate) grace: Duration,
    pub(crate) settling: Settling,
}

impl Tools {
    pub(crate) fn next_stream(&self) -> StreamNumber {
        StreamNumber(self.next_stream.fetch_add(1, Ordering::Relaxed))
    }
}

/// Where connections are present: a topic, a session, or the server as a whole.
pub(crate) struct Place {
    tools: Arc<Tools>,
    /// Held for a change and its telling, so that listeners hear of changes in their order.
    /// Taken before a stream's lock.
    state: Mutex<State>,
}

struct State {
    room: Room,
    audience: Audience,
    /// The place was too large for single changes: what listeners know of its members is old.
    is_counted: bool,
    /// Something changed that is told within [`COUNTS_INTERVAL`].
    is_due: bool,
}

/// Who is told.
enum Audience {
    /// All who listen to this place; the stream is made when somebody does.
    Place { subject: Subject, stream: Option<Stream> },
    /// For each user those who listen to that user; and the embedding program, of all.
    Users { streams: HashMap<UserId, Stream>, events: Events },
}

/// A connection's stay in a place; dropping it leaves.
#[derive(Debug)]
pub(crate) struct Stay {
    place: Arc<Place>,
    connection: Connection,
}

/// The state of a place, and the changes that come after it.
#[derive(Debug)]
pub struct Following {
    /// Who is there.
    pub state: PresenceState,
    /// What changes from here on.
    pub stream: Stream,
    /// The first change that is not in the state.
    pub reader: Reader,
}

impl Place {
    /// An empty place, whose listeners hear of all who are in it.
    pub(crate) fn new(subject: Subject, tools: Arc<Tools>) -> Arc<Self> {
        Self::with(Audience::Place { subject, stream: None }, tools)
    }

    /// An empty place, whose listeners hear of one user each, and `events` of all users.
    pub(crate) fn of_users(events: Events, tools: Arc<Tools>) -> Arc<Self> {
        Self::with(Audience::Users { streams: HashMap::new(), events }, tools)
    }

    fn with(audience: Audience, tools: Arc<Tools>) -> Arc<Self> {
        let state = State { room: Room::default(), audience, is_counted: false, is_due: false };
        Arc::new(Self { tools, state: Mutex::new(state) })
    }

    /// Lets a connection in.
    pub(crate) fn enter(self: &Arc<Self>, connection: &Connection) -> Stay {
        let mut state = self.state.lock();
        let name = connection.device().name.as_ref();
        let change = state.room.enter(&connection.member(), name);
        self.tell(state, change.as_ref());
        Stay { place: Arc::clone(self), connection: connection.clone() }
    }

    /// Who is here: in the place, or of one user.
    pub(crate) fn state(&self, subject: &Subject) -> PresenceState {
        self.state.lock().describe(subject)
    }

    /// How many connections are here.
    pub(crate) fn connections(&self) -> usize {
        self.state.lock().room.connections()
    }

    /// Who is here, and the changes after it, from one turn.
    pub(crate) fn follow(self: &Arc<Self>, subject: &Subject) -> Following {
        let mut state = self.state.lock();
        // Who gets a state without members must not be told single changes after it.
        state.is_counted |= state.is_large();
        let make = || self.stream(subject.clone());
        let stream = match (&mut state.audience, subject) {
            (Audience::Users { streams, .. }, Subject::User(user)) => {
                streams.entry(user.clone()).or_insert_with(make).clone()
            }
            (Audience::Place { stream, .. }, _) => stream.get_or_insert_with(make).clone(),
            (Audience::Users { .. }, _) => make(),
        };
        let reader = Reader { next: stream.next().0 };
        Following { state: state.describe(subject), stream, reader }
    }

    /// Lets go of streams that nobody listens to.
    pub(crate) fn sweep(&self) {
        let mut state = self.state.lock();
        let is_idle = |stream: &Stream| stream.expire().is_some() && stream.is_unshared();
        match &mut state.audience {
            Audience::Place { stream, .. } => {
                stream.take_if(|stream| is_idle(stream));
            }
            Audience::Users { streams, .. } => streams.retain(|_, stream| !is_idle(stream)),
        }
    }

    /// Looks whether a member has left for good.
    pub(super) fn settle(self: &Arc<Self>, member: &Member) {
        let mut state = self.state.lock();
        match state.room.settle(member, Instant::now(), self.tools.grace) {
            Settled::Left(change) => self.tell(state, Some(&change)),
            Settled::AskAt(at) => {
                self.tools.settling.push(at, Due::Seat(Arc::downgrade(self), member.clone()));
            }
            Settled::Taken => {}
        }
    }

    /// Tells how many are here; and who, if they have become few enough for single changes.
    pub(super) fn tell_counts(&self) {
        let mut state = self.state.lock();
        state.is_due = false;
        state.is_counted = state.is_large();
        if let Audience::Place { subject, stream: Some(stream) } = &state.audience {
            let told =
                if state.is_counted { state.counted(subject) } else { state.describe(subject) };
            append(stream, &ServerMessage::Presence(told));
        }
    }

    /// Whether nobody is here, and nobody listens.
    pub(crate) fn is_unused(&self) -> bool {
        let state = self.state.lock();
        let is_heard = match &state.audience {
            Audience::Place { stream, .. } => stream.is_some(),
            Audience::Users { streams, .. } => !streams.is_empty(),
        };
        !is_heard && state.room.users() == 0
    }

    fn leave(self: &Arc<Self>, connection: &Connection) {
        let member = connection.member();
        let now = Instant::now();
        let must_ask = self.state.lock().room.leave(&member, now);
        if must_ask {
            let due = Due::Seat(Arc::downgrade(self), member);
            self.tools.settling.push(now + self.tools.grace, due);
        }
    }

    /// Tells who listens of a change, in the order of changes.
    fn tell(self: &Arc<Self>, mut state: MutexGuard<'_, State>, change: Option<&Change>) {
        let Some(change) = change else { return };
        let events = state.audience.note(change);
        self.tell_listeners(&mut state, change);
        drop(state);
        if let Some(events) = events {
            events.deliver();
        }
    }

    fn tell_listeners(self: &Arc<Self>, state: &mut State, change: &Change) {
        let Some((subject, stream)) = state.audience.of(&change.member.user) else { return };
        let PresenceState { users, connections, .. } = state.counted(&subject);
        if state.is_counted || state.is_large() {
            state.is_counted = true;
            if !mem::replace(&mut state.is_due, true) {
                let due = Due::Counts(Arc::downgrade(self));
                self.tools.settling.push(Instant::now() + COUNTS_INTERVAL, due);
            }
            return;
        }
        let present = PresenceMember {
            user: change.member.user.clone(),
            device: change.member.device.clone(),
            device_name: change.name.clone(),
            connections: None,
        };
        let (joined, left) = match change.kind {
            ChangeKind::Joined => (Some(present), None),
            ChangeKind::Left => (None, Some(present)),
        };
        let whole_user = change.whole_user;
        let change = PresenceChange { subject, joined, left, whole_user, users, connections };
        append(&stream, &ServerMessage::PresenceChanged(change));
    }

    fn stream(self: &Arc<Self>, subject: Subject) -> Stream {
        let source = Source { place: Arc::downgrade(self), subject };
        Stream::new(StreamConfig {
            number: self.tools.next_stream(),
            retention: Retention { frames: KEPT_CHANGES, bytes: KEPT_BYTES, age: Some(KEPT_FOR) },
            lag: Lag::Snapshot(Arc::new(source)),
            encode: self.tools.encode,
        })
    }
}

impl State {
    fn describe(&self, subject: &Subject) -> PresenceState {
        let members = match subject {
            Subject::User(user) if self.is_of_users() => self.room.devices(user).0,
            // A question about a crowd must not cost what the crowd costs.
            _ if self.room.seats() > limits::MAX_LISTED_MEMBERS => return self.counted(subject),
            _ => self.room.members(),
        };
        PresenceState { members: Some(members), truncated: false, ..self.counted(subject) }
    }

    /// Whether single changes are too many to be told; never for one user's devices.
    fn is_large(&self) -> bool {
        !self.is_of_users()
            && (self.room.users() > MAX_DETAILED_USERS
                || self.room.seats() > limits::MAX_LISTED_MEMBERS)
    }

    /// Only how many are here.
    fn counted(&self, subject: &Subject) -> PresenceState {
        let (users, connections) = match subject {
            Subject::User(user) if self.is_of_users() => {
                let (devices, connections) = self.room.devices(user);
                (usize::from(!devices.is_empty()), connections)
            }
            _ => (self.room.users(), self.room.connections()),
        };
        let truncated = users > 0;
        PresenceState { subject: subject.clone(), users, connections, members: None, truncated }
    }

    fn is_of_users(&self) -> bool {
        matches!(self.audience, Audience::Users { .. })
    }
}

impl Audience {
    /// Notes that a user came or has gone; returns what is to be delivered without the lock.
    fn note(&self, change: &Change) -> Option<Events> {
        let Self::Users { events, .. } = self else { return None };
        if !change.whole_user {
            return None;
        }
        let user = change.member.user.clone();
        events.note(match change.kind {
            ChangeKind::Joined => HubEvent::UserCame { user },
            ChangeKind::Left => HubEvent::UserGone { user },
        });
        Some(events.clone())
    }

    /// Who hears of a change of this user's devices.
    fn of(&self, user: &UserId) -> Option<(Subject, Stream)> {
        match self {
            Self::Place { subject, stream } => Some((subject.clone(), stream.clone()?)),
            Self::Users { streams, .. } => {
                Some((Subject::User(user.clone()), streams.get(user)?.clone()))
            }
        }
    }
}

impl Drop for Place {
    /// Who listens to a session that is removed hears that nobody is there any more.
    fn drop(&mut self) {
        let state = self.state.get_mut();
        if let Audience::Place { subject, stream: Some(stream) } = &state.audience
            && state.room.users() > 0
        {
            append(stream, &ServerMessage::Presence(nobody(subject)));
        }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.place.leave(&self.connection);
    }
}

/// What gives the state to a listener that fell behind.
#[derive(Debug)]
struct Source {
    place: Weak<Place>,
    subject: Subject,
}

impl SnapshotSource for Source {
    fn snapshot(&self) -> BoxFuture<'static, Option<Snapshot>> {
        let snapshot = self.place.upgrade().map(|place| {
            let Following { state, stream, reader } = place.follow(&self.subject);
            let text = text(None, &ServerMessage::Presence(state));
            let message = (place.tools.encode)(Kind::Text, &[text.as_bytes()]);
            // Each change is one unit.
            let position = Position { offset: reader.next, ..stream.head() };
            Snapshot {
                messages: vec![message.into()],
                seq: reader.next,
                position,
                history_omitted: 0,
                holders: Holders::default(),
            }
        });
        Box::pin(std::future::ready(snapshot))
    }
}

/// The state of a place where nobody is.
pub(crate) fn nobody(subject: &Subject) -> PresenceState {
    let (subject, members) = (subject.clone(), Some(Vec::new()));
    PresenceState { subject, users: 0, connections: 0, members, truncated: false }
}

fn append(stream: &Stream, message: &ServerMessage) {
    stream.append(Kind::Text, 1, &[text(None, message).as_bytes()]);
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Place")
            .field("users", &state.room.users())
            .field("connections", &state.room.connections())
            .finish_non_exhaustive()
    }
}
