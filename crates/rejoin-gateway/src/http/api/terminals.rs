//! What is in a session: typed into, resized, signalled, seen.

use std::{convert::Infallible, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use rejoin_core::{Author, Authority, ScreenFormat, SessionRight};
use rejoin_protocol::{ErrorCode, SessionId, Signal};
use serde::{Deserialize, Deserializer, de::Error};
use tokio::time::{Duration, timeout};
use utoipa::{IntoParams, ToSchema};

use crate::{
    gateway::Shared,
    http::{
        Problem,
        api::sessions::{cols, find, rows, size},
        extract::{Caller, InPath, InQuery, Json},
    },
};

/// How long a request waits for a program that does not read its input.
const INPUT_TIMEOUT: Duration = Duration::from_secs(10);
/// Nothing on a piece of a screen runs or loads, also when it is opened as a page.
const SCREEN_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox allow-popups";

/// What to type.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({ "data": "make test\r" }))]
pub(super) struct Typed {
    /// The text; Enter is `\r`.
    #[serde(deserialize_with = "typed")]
    #[schema(min_length = 1)]
    data: String,
}

/// A terminal's size.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({ "cols": 120, "rows": 40 }))]
pub(super) struct NewSize {
    /// Columns.
    #[serde(deserialize_with = "cols")]
    #[schema(minimum = 1, maximum = 1000)]
    cols: u16,
    /// Rows.
    #[serde(deserialize_with = "rows")]
    #[schema(minimum = 1, maximum = 500)]
    rows: u16,
}

/// A signal for a program.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({ "signal": "SIGINT" }))]
pub(super) struct NewSignal {
    /// Which.
    signal: Signal,
}

/// How a screen is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ScreenQuery {
    /// How it is told.
    #[serde(default)]
    #[param(inline)]
    format: Format,
}

/// How a screen is told.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Format {
    /// The rows as text, without trailing blanks.
    #[default]
    Text,
    /// Bytes that bring an empty terminal of the same size into the same state, history included.
    Ansi,
    /// A `<pre>` with styles, to put into a page or a mail.
    Html,
}

/// Type into a session
///
/// Answered when the terminal has it. After `timed_out` it may still be typed later.
#[utoipa::path(
    post, path = "/sessions/{session}/input", tag = "sessions", request_body = Typed,
    params(("session" = SessionId, Path, description = "The session.")),
    responses(
        (status = 204, description = "It was typed."),
        (status = 404, description = "`unknown_session`."),
        (status = 409, description = "`session_ended`."),
        (status = 429, description = "`input_full`: the program does not read."),
        (status = 503, description = "`timed_out`: the program did not read it for 10 s."),
    )
)]
pub(super) async fn input(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<SessionId>,
    Json(Typed { data }): Json<Typed>,
) -> Result<StatusCode, Problem> {
    let session = find(&shared, &caller, &id, SessionRight::Write)?;
    let author = Author::Request(Arc::new(caller.clone()));
    let typed = timeout(INPUT_TIMEOUT, session.input(data.into(), author));
    let typed = tokio::select! {
        biased;
        typed = typed => typed,
        () = shared.shutdown.begun() => {
            let detail = "the server is stopping, and the program has not read it";
            return Err(Problem::new(ErrorCode::Overloaded, detail));
        }
    };
    match typed {
        Ok(result) => {
            result?;
            // Input whose author lost the right to it was dropped.
            caller.check()?;
        }
        Err(_) => {
            let detail = "the program has not read it for 10 s; it may still do so";
            return Err(Problem::new(ErrorCode::TimedOut, detail));
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Change a session's size
///
/// It counts until somebody who is attached types, and so makes their size the session's.
#[utoipa::path(
    post, path = "/sessions/{session}/resize", tag = "sessions", request_body = NewSize,
    params(("session" = SessionId, Path, description = "The session.")),
    responses(
        (status = 204, description = "It is changed."),
        (status = 404, description = "`unknown_session`."),
        (status = 409, description = "`session_ended`."),
    )
)]
pub(super) async fn resize(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<SessionId>,
    Json(NewSize { cols, rows }): Json<NewSize>,
) -> Result<StatusCode, Problem> {
    find(&shared, &caller, &id, SessionRight::Write)?.resize(size(cols, rows))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Send a session's program a signal
#[utoipa::path(
    post, path = "/sessions/{session}/signal", tag = "sessions", request_body = NewSignal,
    params(("session" = SessionId, Path, description = "The session.")),
    responses(
        (status = 204, description = "It is on its way."),
        (status = 404, description = "`unknown_session`."),
        (status = 409, description = "`session_ended`."),
        (status = 429, description = "`input_full`: the terminal takes nothing more now."),
    )
)]
pub(super) async fn signal(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<SessionId>,
    Json(NewSignal { signal }): Json<NewSignal>,
) -> Result<StatusCode, Problem> {
    find(&shared, &caller, &id, SessionRight::Write)?.signal(signal)?;
    Ok(StatusCode::NO_CONTENT)
}

/// See a session's screen
///
/// What it shows now, or showed last if its program has ended.
#[utoipa::path(
    get, path = "/sessions/{session}/screen", tag = "sessions",
    params(("session" = SessionId, Path, description = "The session."), ScreenQuery),
    responses(
        (status = 200, description = "The screen in the format that was asked for.", content(
            (String = "text/plain; charset=utf-8"),
            (String = "text/html; charset=utf-8"),
            ([u8] = "application/octet-stream"),
        )),
        (status = 404, description = "`unknown_session`."),
        (status = 409, description = "`session_ended`: it was closed just now."),
        (status = 503, description = "`overloaded`: four others are reading it."),
    )
)]
pub(super) async fn screen(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<SessionId>,
    InQuery(ScreenQuery { format }): InQuery<ScreenQuery>,
) -> Result<Response, Problem> {
    let session = find(&shared, &caller, &id, SessionRight::Attach)?;
    let (format, content_type) = match format {
        Format::Text => (ScreenFormat::Text, "text/plain; charset=utf-8"),
        Format::Ansi => (ScreenFormat::Ansi, "application/octet-stream"),
        Format::Html => (ScreenFormat::Html, "text/html; charset=utf-8"),
    };
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, SCREEN_POLICY),
    ];
    let mut pieces = session.screen(format).await?;
    let first = pieces.next().unwrap_or_default();
    let Some(second) = pieces.next() else {
        return Ok((headers, first).into_response());
    };
    let pieces = [first, second].into_iter().chain(pieces);
    // A piece is made when the client has taken the one before it.
    let body = stream::unfold(pieces, async |mut pieces| {
        tokio::task::yield_now().await;
        let piece = pieces.next()?;
        Some((Ok::<_, Infallible>(Bytes::from(piece)), pieces))
    });
    Ok((headers, Body::from_stream(body)).into_response())
}

fn typed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let data = String::deserialize(deserializer)?;
    if data.is_empty() { Err(D::Error::custom("must not be empty")) } else { Ok(data) }
}
