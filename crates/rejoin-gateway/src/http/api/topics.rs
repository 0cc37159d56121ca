//! Topics: publish, list, history, presence.

use std::{num::NonZeroUsize, sync::Arc};

use axum::{Extension, Json as Answer, extract::State};
use rejoin_core::{
    Batch, Durability, Frame, Progress, ReadLimit, Reader, Stream, Topic, TopicRight, now_ms,
};
use rejoin_protocol::{
    ErrorCode, Position, RequestKey, Subject, TopicName, Verdict,
    message::{PresenceState, PublishAck},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::{
    credentials::Caller,
    http::{
        extract::{InPath, InQuery, Json, Limit},
        paging::page,
    },
    problem::Problem,
    state::Shared,
};

/// The maximum size of the messages on one page, in bytes. A larger message gets its own page.
const MAX_HISTORY_BYTES: usize = 1024 * 1024;

/// A message to publish.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({ "topic": "news", "data": { "title": "Hello" }, "key": "42" }))]
pub(super) struct NewMessage {
    /// The topic.
    topic: TopicName,
    /// Any JSON value, delivered unchanged.
    #[schema(value_type = Value)]
    data: Box<RawValue>,
    /// An idempotency key: retries within five minutes get the same response but publish nothing.
    #[serde(default)]
    key: Option<RequestKey>,
}

/// The topics to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct TopicFilter {
    /// Starts after this topic: the `next` of the previous page.
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
    /// The `after` of the next page. Null on the last page.
    next: Option<TopicName>,
}

/// A topic in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TopicInfo {
    /// The name.
    name: TopicName,
    /// The number of retained messages.
    frames: usize,
    /// The number of subscribed connections.
    subscribers: usize,
    /// `true` if messages are on disk before they are acknowledged.
    durable: bool,
    /// The time of the newest retained message, in milliseconds since the epoch. The time of the
    /// last use if none is retained.
    last_activity_at: u64,
}

/// The part of a topic's history to read.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// Starts after this position. By default, starts with the oldest retained message.
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
    /// The completeness of the messages after the position, as in the answer to `subscribe`.
    verdict: Verdict,
    /// After a gap: the number of missed messages, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    missed: Option<u64>,
    /// After a gap: the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    messages: Vec<Message>,
    /// The position after the page, from which a client can continue reading or subscribe. Null if
    /// the topic does not exist.
    position: Option<Position>,
    /// The `after` of the next page. Null on the last page.
    next: Option<Position>,
}

/// A published message.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(super) struct Message {
    /// The topic.
    topic: TopicName,
    /// The position after the message.
    position: Position,
    /// The published data.
    #[schema(value_type = Value)]
    data: Box<RawValue>,
    /// The time of the publish, in milliseconds since the epoch.
    time: u64,
}

/// The content of a frame in a topic's stream.
#[derive(Deserialize)]
struct Published {
    payload: Message,
}

/// Publish to a topic
///
/// The first use of a name creates its topic. `key` is an idempotency key for the message, also
/// across WebSockets; the header `Idempotency-Key` is one for the request, and for the message if
/// `key` is missing. A message to a durable topic keeps its key across a restart of the server.
#[utoipa::path(
    post, path = "/publish", tag = "topics", request_body = NewMessage,
    responses(
        (status = 200,
         description = "The message was published, by this request or by an earlier one with \
         the same key.", body = PublishAck),
        (status = 404, description = "`unknown_topic`: names with `@` are reserved."),
        (status = 429, description = "`too_many_topics`, or `rate_limited` for too many keys."),
    )
)]
pub(super) async fn publish(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    header: Option<Extension<RequestKey>>,
    Json(NewMessage { topic, data, key }): Json<NewMessage>,
) -> Result<Answer<PublishAck>, Problem> {
    let key = key.or_else(|| header.map(|Extension(key)| key));
    let position = shared.hub.publish(&topic, &caller, &data, key.as_ref()).await?;
    Ok(Answer(PublishAck { position }))
}

/// List topics
///
/// Lists the existing topics that the caller may subscribe to.
#[utoipa::path(
    get, path = "/topics", tag = "topics", params(TopicFilter),
    responses((status = 200, description = "A page of topics, sorted.", body = TopicPage))
)]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Caller { identity, .. }: Caller,
    InQuery(TopicFilter { after, limit: Limit(limit) }): InQuery<TopicFilter>,
) -> Answer<TopicPage> {
    // One more than the limit shows whether there is another page.
    let topics = shared.hub.topics(&identity, TopicRight::Subscribe, after.as_ref(), limit + 1);
    let (topics, next) = page(topics, limit, |topic| topic.name().clone());
    Answer(TopicPage { topics: topics.iter().map(info).collect(), next })
}

/// Read the history of a topic
///
/// Returns the messages that the topic retains. In the path, write `%2F` for `/` in a name.
#[utoipa::path(
    get, path = "/topics/{topic}/history", tag = "topics",
    params(("topic" = TopicName, Path, description = "The topic."), HistoryQuery),
    responses(
        (status = 200,
         description = "A page of messages, oldest first; empty if the topic does not \
         exist.", body = History),
        (status = 404, description = "`unknown_topic`: names with `@` are reserved."),
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
        None => empty_history(name, after),
    }))
}

/// Get the presence of a topic
///
/// In the path, write `%2F` for `/` in a name.
#[utoipa::path(
    get, path = "/topics/{topic}/presence", tag = "topics",
    params(("topic" = TopicName, Path, description = "The topic.")),
    responses(
        (status = 200,
         description = "The subscribed users and their devices.", body = PresenceState),
        (status = 404, description = "`unknown_topic`: names with `@` are reserved."),
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
        // Looks like a topic without subscribers, because the first use creates a topic.
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
    let (frames, idle) = topic.stream().retained();
    // A stream measures idle time by the monotonic clock: the wall clock may have been changed.
    let idle_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);

    TopicInfo {
        name: topic.name().clone(),
        frames,
        subscribers: topic.subscribers(),
        durable: topic.durability() == Durability::Journal,
        last_activity_at: now_ms().saturating_sub(idle_ms),
    }
}

fn read(topic: &Topic, after: Option<Position>, limit: usize) -> Result<History, Problem> {
    let stream = topic.stream();
    // Like a subscriber, a request gets no messages that are too old.
    stream.expire();
    // Read before the messages: one published in the meantime is on this page or on the next.
    let head = stream.head();

    let start = after.map(|after| stream.start_now(Some(after)));
    let reader = start.as_ref().map_or(Reader { next: 0 }, |start| start.reader);
    let messages = messages(stream, reader, limit)?;
    let begin = start.as_ref().map_or(head, |start| start.position);
    // Without messages, the client continues from its own position.
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

/// Returns the history of a topic that does not exist.
fn empty_history(topic: TopicName, after: Option<Position>) -> History {
    let (verdict, reason) = match after {
        None => (Verdict::Fresh, None),
        // The position belongs to an earlier topic of this name.
        Some(_) => (Verdict::Gap, Some("epoch")),
    };
    let (messages, position, next) = (Vec::new(), None, None);
    History { topic, verdict, missed: None, reason, messages, position, next }
}

/// Returns the messages from the reader's position, or from the oldest retained one.
fn messages(stream: &Stream, reader: Reader, count: usize) -> Result<Vec<Message>, Problem> {
    let frames = NonZeroUsize::new(count).expect("a page has room for one");
    let limit = ReadLimit { frames, bytes: MAX_HISTORY_BYTES };

    let mut batch = Batch::default();
    let mut next = reader.next;
    // If the position has expired in the meantime, continues at the oldest retained frame.
    while let Progress::Behind { oldest, .. } = stream.read(Reader { next }, limit, &mut batch) {
        next = oldest;
    }
    batch.frames.iter().map(message).collect()
}

fn message(frame: &Frame) -> Result<Message, Problem> {
    let text = rejoin_websocket::payload(frame.plain()).map(|(_, text)| text);
    let published = text.and_then(|text| serde_json::from_slice::<Published>(&text).ok());
    // An embedding program can append frames of other kinds to a topic's stream.
    let published = published.ok_or_else(|| {
        let detail = "the topic has a frame that is not a published message";
        Problem::new(ErrorCode::Internal, detail)
    })?;
    Ok(published.payload)
}
