//! The streams of topics and implicit streams: their configuration and their lifetime.

use std::{sync::Arc, time::Duration};

use rejoin_protocol::{
    ErrorCode, TopicName,
    message::{ErrorBody, Gap, ServerMessage, text},
};

use crate::{
    backend::StreamOwner,
    frame::PayloadKind,
    presence::PresenceContext,
    stream::{GapNotice, LagPolicy, Retention, SlowReaderPolicy, Stream, StreamConfig},
};

/// The time for which an empty, unused stream keeps its epoch, so that a client that resumes in
/// this time learns that it missed nothing.
pub(super) const IDLE_LIFETIME: Duration = Duration::from_secs(3600);

/// The retention and the treatment of slow readers.
pub(super) type StreamRule = (Retention, SlowReaderPolicy);

/// A stream, as the journal names it.
#[derive(Clone, Debug)]
pub(super) struct JournalStream {
    pub(super) owner: StreamOwner,
    pub(super) stream: Stream,
}

/// Returns the rule for implicit streams.
pub(super) fn default_rule() -> StreamRule {
    (Retention::default(), SlowReaderPolicy::default())
}

/// Returns the error for a reserved topic name that has no stream.
pub(super) fn reserved(topic: &TopicName) -> ErrorBody {
    let sentence =
        format!("`{topic}` is not a topic that you can use; names with `@` are reserved");
    ErrorBody::new(ErrorCode::UnknownTopic, sentence)
}

/// Returns the configuration of a topic's stream, with a new stream number.
///
/// Such a stream has no owner task: each turn is one hold of the stream's lock.
pub(super) fn config(
    topic: &TopicName,
    (retention, policy): StreamRule,
    context: &PresenceContext,
) -> StreamConfig {
    let (name, encode) = (topic.clone(), context.encode);
    let gap = move |notice: GapNotice| {
        let gap = Gap {
            topic: name.clone(),
            missed: notice.missed,
            reason: notice.reason,
            position: notice.position,
        };
        encode(PayloadKind::Text, &[text(None, &ServerMessage::Gap(gap)).as_bytes()])
    };

    let lag = LagPolicy::Gap { policy, encode: Arc::new(gap) };
    StreamConfig { number: context.next_stream(), retention, lag, encode }
}
