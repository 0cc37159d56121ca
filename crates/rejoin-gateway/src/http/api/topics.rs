//! Topics: published to, listed, read again.

use std::{num::NonZeroUsize, sync::Arc};

use axum::{Json as Answer, extract::State};
use rejoin_core::{Batch, Frame, Progress, ReadLimit, Reader, Stream, Topic, TopicRight, now_ms};
use rejoin_protocol::{
    ErrorCode, Position, RequestKey, Subject, TopicName, Verdict,
    message::{PresenceState, PublishAck},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::{
    gateway::Shared,
    http::{
        Problem,
        extract::{Caller, InPath, InQuery, Json, Limit},
        paging::page,
    },
};

/// Bytes of messages on one page; one message is always there.
const MAX_HISTORY_BYTES: usize = 1024 * 1024;

/// What to publish.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({ "topic": "news", "data": { "title": "Hello" }, "key": "42" }))]
pub(super) struct NewMessage {
    /// Where.
    topic: TopicName,
    /// Any JSON, passed on as it is.
    #[schema(value_type = Value)]
    data: Box<RawValue>,
    /// Makes a retry within five minutes harmless: it is answered, and not published again.
    #[serde(default)]
    key: Option<RequestKey>,
}

/// Which topics to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct TopicFilter {
    /// Only those after this one: the `next` of the page before.
    #[serde(default)]
    after: Option<TopicName>,
    #[serde(default)]
    #[param(inline)]
    limit: Limit,
}

/// A page of topics, sorted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TopicPage {
    topics: Vec<TopicInfo>,
    /// The `after` of the next page; null if there is none.
    next: Option<TopicName>,
}

/// A topic as lists show it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TopicInfo {
    /// Its name.
    name: TopicName,
    /// How many messages it holds.
    frames: usize,
    /// How many connections subscribe to it.
    subscribers: usize,
    /// When something was last published to it, or it was first used, in milliseconds since the
    /// epoch.
    last_activity_at: u64,
}

/// What to read again.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// Only what came after this position; all that is there if none is given.
    #[serde(default)]
    after: Option<Position>,
    #[serde(default)]
    #[param(inline)]
    limit: Limit,
}

/// A page of messages, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct History {
    /// The topic.
    topic: TopicName,
    /// Whether all that came after the position is there: as the answer to `subscribe`.
    verdict: Verdict,
    /// With a gap: how many messages are gone, if that can be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    missed: Option<u64>,
    /// With a gap: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    messages: Vec<Message>,
    /// Where reading ended: who comes again or subscribes with it goes on from here. Null if the
    /// topic is not there.
    position: Option<Position>,
    /// The `after` of the next page; null if there is nothing more yet.
    next: Option<Position>,
}

/// A published message.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(super) struct Message {
    /// Where.
    topic: TopicName,
    /// The position after it.
    position: Position,
    /// What was published.
    #[schema(value_type = Value)]
    data: Box<RawValue>,
    /// When, in milliseconds since the epoch.
    time: u64,
}

/// A frame of a topic's stream.
#[derive(Deserialize)]
struct Published {
    payload: Message,
}

/// Publish to a topic
///
/// The topic is made by using its name. `key` does for one message what the header
/// `Idempotency-Key` does for one request, and over WebSockets as well.
#[utoipa::path(
    post, path = "/publish", tag = "topics", request_body = NewMessage,
    responses(
        (status = 200, description = "It was published, or was before.", body = PublishAck),
        (status = 404, description = "`unknown_topic`: names with `@` are the server's own."),
        (status = 429, description = "`too_many_topics`, or `rate_limited` for too many keys."),
    )
)]
pub(super) async fn publish(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Json(NewMessage { topic, data, key }): Json<NewMessage>,
) -> Result<Answer<PublishAck>, Problem> {
    let position = shared.hub.publish(&topic, &caller, &data, key.as_ref()).await?;
    Ok(Answer(PublishAck { position }))
}

/// List topics
///
/// Those that are there and that the caller may subscribe to.
#[utoipa::path(
    get, path = "/topics", tag = "topics", params(TopicFilter),
    responses((status = 200, description = "A page of them, sorted.", body = TopicPage))
)]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Caller { identity, .. }: Caller,
    InQuery(TopicFilter { after, limit: Limit(limit) }): InQuery<TopicFilter>,
) -> Answer<TopicPage> {
    // One more than fits says whether there is another page.
    let topics = shared.hub.topics(&identity, TopicRight::Subscribe, after.as_ref(), limit + 1);
    let (topics, next) = page(topics, limit, |topic| topic.name().clone());
    Answer(TopicPage { topics: topics.iter().map(info).collect(), next })
}

/// Read a topic's messages again
///
/// As far as the topic keeps them. In the path, `/` and `@` of a name are written `%2F` and `%40`.
#[utoipa::path(
    get, path = "/topics/{topic}/history", tag = "topics",
    params(("topic" = TopicName, Path, description = "The topic."), HistoryQuery),
    responses(
        (status = 200, description = "A page of them, oldest first; none of a topic that is not \
         there.", body = History),
        (status = 404, description = "`unknown_topic`: names with `@` are the server's own."),
    )
)]
pub(super) async fn history(
    State(shared): State<Arc<Shared>>,
    Caller { identity, .. }: Caller,
    InPath(name): InPath<TopicName>,
    InQuery(HistoryQuery { after, limit: Limit(limit) }): InQuery<HistoryQuery>,
) -> Result<Answer<History>, Problem> {
    let topic = shared.hub.existing_topic(&name, &identity, TopicRight::Subscribe)?;
    Ok(Answer(match topic {
        Some(topic) => read(&topic, after, limit)?,
        None => nothing(name, after),
    }))
}

/// See who subscribes to a topic
///
/// In the path, `/` and `@` of a name are written `%2F` and `%40`.
#[utoipa::path(
    get, path = "/topics/{topic}/presence", tag = "topics",
    params(("topic" = TopicName, Path, description = "The topic.")),
    responses(
        (status = 200, description = "Users and their devices.", body = PresenceState),
        (status = 404, description = "`unknown_topic`: names with `@` are the server's own."),
    )
)]
pub(super) async fn presence(
    State(shared): State<Arc<Shared>>,
    Caller { identity, .. }: Caller,
    InPath(name): InPath<TopicName>,
) -> Result<Answer<PresenceState>, Problem> {
    let topic = shared.hub.existing_topic(&name, &identity, TopicRight::Presence)?;
    let subject = Subject::Topic(name);
    Ok(Answer(match topic {
        Some(_) => shared.hub.presence(&identity, &subject)?,
        None => PresenceState {
            subject,
            users: 0,
            connections: 0,
            members: Some(Vec::new()),
            truncated: false,
        },
    }))
}

fn info(topic: &Topic) -> TopicInfo {
    let (frames, quiet) = topic.stream().retained();
    let quiet = u64::try_from(quiet.as_millis()).unwrap_or(u64::MAX);
    TopicInfo {
        name: topic.name().clone(),
        frames,
        subscribers: topic.subscribers(),
        last_activity_at: now_ms().saturating_sub(quiet),
    }
}

fn read(topic: &Topic, after: Option<Position>, limit: usize) -> Result<History, Problem> {
    let stream = topic.stream();
    // What grew too old goes first, here as for a subscriber.
    stream.expire();
    // Before the messages: what comes meanwhile is read now, or the next time.
    let head = stream.head();
    let start = after.map(|after| stream.start_now(Some(after)));
    let reader = start.as_ref().map_or(Reader { next: 0 }, |start| start.reader);
    let messages = messages(stream, reader, limit)?;
    let begin = start.as_ref().map_or(head, |start| start.position);
    let position = messages.last().map_or(begin, |message| message.position);
    Ok(History {
        topic: topic.name().clone(),
        verdict: start.as_ref().map_or(Verdict::Fresh, |start| start.verdict),
        missed: start.as_ref().and_then(|start| start.missed),
        reason: start.as_ref().and_then(|start| start.reason),
        messages,
        position: Some(position),
        next: (position.offset < head.offset).then_some(position),
    })
}

/// What is read of a topic that is not there.
fn nothing(topic: TopicName, after: Option<Position>) -> History {
    let (verdict, reason) = match after {
        None => (Verdict::Fresh, None),
        Some(_) => (Verdict::Gap, Some("epoch")),
    };
    let (messages, position, next) = (Vec::new(), None, None);
    History { topic, verdict, missed: None, reason, messages, position, next }
}

/// The messages from here on, or from the oldest one that is left.
fn messages(stream: &Stream, reader: Reader, count: usize) -> Result<Vec<Message>, Problem> {
    let frames = NonZeroUsize::new(count).expect("a page has room for one");
    let limit = ReadLimit { frames, bytes: MAX_HISTORY_BYTES };
    let mut batch = Batch::default();
    let mut next = reader.next;
    while let Progress::Behind { oldest, .. } = stream.read(Reader { next }, limit, &mut batch) {
        next = oldest;
    }
    batch.frames.iter().map(message).collect()
}

fn message(frame: &Frame) -> Result<Message, Problem> {
    let published = serde_json::from_slice::<Published>(&frame.payload()).ok();
    // What a producer of the embedding program appended itself is of no form that is known here.
    let published = published.ok_or_else(|| {
        Problem::new(ErrorCode::Internal, "the topic holds what was not published to it")
    })?;
    Ok(published.payload)
}
