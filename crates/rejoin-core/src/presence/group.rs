//! A presence group: members, and the subscribers that receive their changes.

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

use futures_util::future::BoxFuture;
use rejoin_protocol::{
    Position, StreamNumber, Subject, limits,
    message::{PresenceChange, PresenceMember, PresenceState, ServerMessage, text},
};
use tokio::time::Instant;

use crate::{
    connection::Connection,
    frame::{Encode, Frame, PayloadKind},
    lock::{Mutex, MutexGuard, level::PRESENCE_GROUP},
    presence::{
        audience::{Audience, UserObserver},
        members::{Change, ChangeKind, GraceCheck, MemberId, Members},
    },
    stream::{
        Holders, LagPolicy, Reader, Retention, Snapshot, SnapshotSource, Stream, StreamConfig,
    },
    timers::Timers,
};

/// The number of users above which subscribers get counts instead of single changes. A group with
/// more members than one state may list gets counts as well.
const MAX_DETAILED_USERS: usize = 500;
/// The minimum time between two counts.
const COUNTS_INTERVAL: Duration = Duration::from_secs(1);
/// The number of changes that a subscriber may be behind. Above it, the subscriber gets the state.
const RETAINED_CHANGES: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");
/// The bytes of changes that a subscriber may be behind.
const RETAINED_BYTES: NonZeroUsize = NonZeroUsize::new(64 * 1024).expect("not zero");
/// The age of retained changes. Subscribers start with the state, so no more is needed.
const RETAINED_FOR: Duration = Duration::from_secs(60);

/// The data that all groups of a hub share.
#[derive(Debug)]
pub(crate) struct PresenceContext {
    pub(crate) encode: Encode,
    /// The time between the end of a member's last connection and the member's departure.
    grace: Duration,
    /// The number of the next stream. A number is never used twice in a process.
    next_stream: AtomicU32,
    /// One timer per disconnected member and one per group with unpublished counts, so their
    /// number is bounded by the members. Pushed with a group's lock held.
    timers: Timers<Timer>,
}

impl PresenceContext {
    pub(crate) fn new(encode: Encode, grace: Duration) -> Self {
        Self { encode, grace, next_stream: AtomicU32::new(1), timers: Timers::default() }
    }

    /// Returns a number for a new stream.
    pub(crate) fn next_stream(&self) -> StreamNumber {
        StreamNumber(self.next_stream.fetch_add(1, Ordering::Relaxed))
    }

    /// Handles the timers, forever. Cancel safe.
    pub(crate) async fn run_timers(&self) {
        loop {
            self.timers.next().await.expire();
        }
    }
}

/// A timer of a group. It holds no group, so that a group can end.
#[derive(Debug)]
enum Timer {
    /// Checks whether the member has left.
    Grace(Weak<PresenceGroup>, MemberId),
    /// Publishes the counts of a large group.
    Counts(Weak<PresenceGroup>),
}

impl Timer {
    fn expire(self) {
        match self {
            Self::Grace(group, id) => {
                if let Some(group) = group.upgrade() {
                    group.check(&id);
                }
            }
            Self::Counts(group) => {
                if let Some(group) = group.upgrade() {
                    group.publish_counts();
                }
            }
        }
    }
}

/// The members of a topic, of a session, or of the whole server.
pub(crate) struct PresenceGroup {
    context: Arc<PresenceContext>,
    /// Held during a change and its publication, so that subscribers receive changes in order.
    state: Mutex<State, PRESENCE_GROUP>,
}

struct State {
    members: Members,
    audience: Audience,
    /// The group is in counts-only mode: subscribers do not know its members.
    is_counted: bool,
    /// A timer for counts is already queued.
    has_counts_timer: bool,
}

/// A connection's presence in a group; dropping it leaves.
#[derive(Debug)]
pub(crate) struct PresenceGuard {
    group: Arc<PresenceGroup>,
    connection: Connection,
}

/// The state of a group, and the stream of its later changes.
#[derive(Debug)]
pub struct PresenceSubscription {
    /// The current state.
    pub state: PresenceState,
    /// The stream of changes.
    pub stream: Stream,
    /// The first change that is not in the state.
    pub reader: Reader,
}

impl PresenceGroup {
    /// Creates an empty group whose subscribers receive all changes.
    pub(crate) fn new(subject: Subject, context: Arc<PresenceContext>) -> Arc<Self> {
        Self::with(Audience::Group { subject, stream: None }, context)
    }

    /// Creates an empty group whose subscribers receive the changes of one user each.
    pub(crate) fn of_users(
        observer: Arc<dyn UserObserver>,
        context: Arc<PresenceContext>,
    ) -> Arc<Self> {
        Self::with(Audience::Users { streams: HashMap::new(), observer }, context)
    }

    fn with(audience: Audience, context: Arc<PresenceContext>) -> Arc<Self> {
        let members = Members::default();
        let state = State { members, audience, is_counted: false, has_counts_timer: false };
        Arc::new(Self { context, state: Mutex::new(state) })
    }

    /// Adds a connection until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>, connection: &Connection) -> PresenceGuard {
        let mut state = self.state.lock();
        let name = connection.device().name.as_ref();
        let change = state.members.enter(&MemberId::of(connection), name);
        // The guard moves into `publish`, which releases the lock before a handler runs.
        self.publish(state, change.as_ref());
        PresenceGuard { group: Arc::clone(self), connection: connection.clone() }
    }

    /// Returns the state of the group, or of one user in it.
    pub(crate) fn state(&self, subject: &Subject) -> PresenceState {
        self.state.lock().describe(subject)
    }

    /// Returns the number of connections.
    pub(crate) fn connections(&self) -> usize {
        self.state.lock().members.connections()
    }

    /// Returns the state and the stream of later changes, from one turn.
    pub(crate) fn subscribe(self: &Arc<Self>, subject: &Subject) -> PresenceSubscription {
        let mut state = self.state.lock();
        // A subscriber whose state lists no members could not apply single changes.
        state.is_counted |= state.is_large();
        let stream = state.audience.subscribe(subject, || self.new_stream(subject.clone()));
        let reader = Reader { next: stream.next().0 };
        PresenceSubscription { state: state.describe(subject), stream, reader }
    }

    /// Drops the streams without subscribers.
    pub(crate) fn sweep(&self) {
        self.state.lock().audience.sweep();
    }

    /// Returns `true` if the group has neither members nor subscribers.
    pub(crate) fn is_unused(&self) -> bool {
        let state = self.state.lock();
        !state.audience.has_streams() && state.members.users() == 0
    }

    /// Handles an expired grace timer.
    fn check(self: &Arc<Self>, id: &MemberId) {
        let mut state = self.state.lock();
        match state.members.check(id, Instant::now(), self.context.grace) {
            GraceCheck::Left(change) => self.publish(state, Some(&change)),
            GraceCheck::Again(at) => {
                self.context.timers.push(at, Timer::Grace(Arc::downgrade(self), id.clone()));
            }
            GraceCheck::Present => {}
        }
    }

    /// Publishes the counts, or the whole state once the group is small enough for it.
    fn publish_counts(&self) {
        let mut state = self.state.lock();
        // Changes from here on start the next timer.
        state.has_counts_timer = false;
        state.is_counted = state.is_large();

        if let Audience::Group { subject, stream: Some(stream) } = &state.audience {
            let current =
                if state.is_counted { state.counts(subject) } else { state.describe(subject) };
            append(stream, &ServerMessage::Presence(current));
        }
    }

    fn leave(self: &Arc<Self>, connection: &Connection) {
        let id = MemberId::of(connection);
        let now = Instant::now();

        // No publication yet: the member leaves when the timer finds it absent.
        let needs_timer = self.state.lock().members.leave(&id, now);
        if needs_timer {
            let timer = Timer::Grace(Arc::downgrade(self), id);
            self.context.timers.push(now + self.context.grace, timer);
        }
    }

    /// Publishes a change. Takes the lock's guard, so that publications have the order of changes.
    fn publish(self: &Arc<Self>, mut state: MutexGuard<'_, State>, change: Option<&Change>) {
        let Some(change) = change else { return };
        let observer = state.audience.record(change);
        self.publish_to_subscribers(&mut state, change);
        drop(state);

        // A handler may call back into the group.
        if let Some(observer) = observer {
            observer.deliver();
        }
    }

    fn publish_to_subscribers(self: &Arc<Self>, state: &mut State, change: &Change) {
        let Some((subject, stream)) = state.audience.stream_of(&change.member.user) else { return };
        if state.is_counted || state.is_large() {
            state.is_counted = true;
            // One timer for all changes until it fires.
            if !mem::replace(&mut state.has_counts_timer, true) {
                let timer = Timer::Counts(Arc::downgrade(self));
                self.context.timers.push(Instant::now() + COUNTS_INTERVAL, timer);
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

        let PresenceState { users, connections, .. } = state.counts(&subject);
        let whole_user = change.whole_user;
        let change = PresenceChange { subject, joined, left, whole_user, users, connections };
        append(&stream, &ServerMessage::PresenceChanged(change));
    }

    fn new_stream(self: &Arc<Self>, subject: Subject) -> Stream {
        let source = StateSource { group: Arc::downgrade(self), subject };
        Stream::new(StreamConfig {
            number: self.context.next_stream(),
            retention: Retention {
                frames: RETAINED_CHANGES,
                bytes: RETAINED_BYTES,
                age: Some(RETAINED_FOR),
            },
            lag: LagPolicy::Snapshot(Arc::new(source)),
            encode: self.context.encode,
        })
    }
}

impl State {
    /// Returns the state with its members, or with counts only if there are too many to list.
    fn describe(&self, subject: &Subject) -> PresenceState {
        let members = match subject {
            Subject::User(user) if self.audience.is_by_user() => self.members.devices(user).0,
            // The cost of a query must not grow with the group.
            _ if self.members.count() > limits::MAX_LISTED_MEMBERS => return self.counts(subject),
            _ => self.members.list(),
        };
        PresenceState { members: Some(members), truncated: false, ..self.counts(subject) }
    }

    /// Returns `true` if the group is too large for single changes. The devices of one user never
    /// are.
    fn is_large(&self) -> bool {
        !self.audience.is_by_user()
            && (self.members.users() > MAX_DETAILED_USERS
                || self.members.count() > limits::MAX_LISTED_MEMBERS)
    }

    /// Returns the state without its members.
    fn counts(&self, subject: &Subject) -> PresenceState {
        let (users, connections) = match subject {
            Subject::User(user) if self.audience.is_by_user() => {
                let (devices, connections) = self.members.devices(user);
                (usize::from(!devices.is_empty()), connections)
            }
            _ => (self.members.users(), self.members.connections()),
        };

        let truncated = users > 0;
        PresenceState { subject: subject.clone(), users, connections, members: None, truncated }
    }
}

impl Drop for PresenceGroup {
    /// Sends subscribers an empty state: a removed session has no members.
    fn drop(&mut self) {
        let state = self.state.get_mut();
        if let Audience::Group { subject, stream: Some(stream) } = &state.audience
            && state.members.users() > 0
        {
            append(stream, &ServerMessage::Presence(empty_state(subject)));
        }
    }
}

impl Drop for PresenceGuard {
    fn drop(&mut self) {
        self.group.leave(&self.connection);
    }
}

/// The source of the state for subscribers that fall behind. Holds no group, so that a group can
/// end.
#[derive(Debug)]
struct StateSource {
    group: Weak<PresenceGroup>,
    subject: Subject,
}

impl SnapshotSource for StateSource {
    fn snapshot(&self) -> BoxFuture<'static, Option<Snapshot>> {
        let snapshot = self.group.upgrade().map(|group| {
            let PresenceSubscription { state, stream, reader } = group.subscribe(&self.subject);
            let text = text(None, &ServerMessage::Presence(state));
            let message = Frame::new(group.context.encode, PayloadKind::Text, &[text.as_bytes()]);
            // Each change is one unit, so offsets and frame numbers are equal.
            let position = Position { offset: reader.next, ..stream.head() };
            Snapshot {
                messages: vec![message],
                seq: reader.next,
                position,
                history_omitted: 0,
                holders: Holders::default(),
            }
        });

        Box::pin(std::future::ready(snapshot))
    }
}

/// Returns the state of a group without members.
pub(crate) fn empty_state(subject: &Subject) -> PresenceState {
    let (subject, members) = (subject.clone(), Some(Vec::new()));
    PresenceState { subject, users: 0, connections: 0, members, truncated: false }
}

fn append(stream: &Stream, message: &ServerMessage) {
    stream.append(PayloadKind::Text, 1, &[text(None, message).as_bytes()]);
}

impl fmt::Debug for PresenceGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("PresenceGroup")
            .field("users", &state.members.users())
            .field("connections", &state.members.connections())
            .finish_non_exhaustive()
    }
}
