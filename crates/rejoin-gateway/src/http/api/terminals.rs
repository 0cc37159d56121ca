//! The terminal of a session: input, size, signals, screen.

use std::{convert::Infallible, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use rejoin_core::{Author, Authority, HistoryQuery, ScreenFormat, SessionRight};
use rejoin_protocol::{
    ErrorCode, SessionId, Signal,
    message::{HistoryLines, HistoryPage},
};
use serde::{Deserialize, Deserializer, de::Error};
use tokio::time::{Duration, timeout};
use utoipa::{IntoParams, ToSchema};

use crate::{
    credentials::Caller,
    http::{
        api::sessions::{cols, find, rows, size},
        extract::{InPath, InQuery, Json},
    },
    problem::Problem,
    state::Shared,
};

/// The maximum time that a request waits for a program that does not read its input.
const INPUT_TIMEOUT: Duration = Duration::from_secs(10);
/// The policy for an HTML screen, which runs and loads nothing, even if opened as a page.
const SCREEN_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox allow-popups";

/// Input for a terminal.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({ "data": "make test\r" }))]
pub(super) struct TerminalInput {
    /// The text. Enter is `\r`.
    #[serde(deserialize_with = "not_empty")]
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
    /// The signal.
    signal: Signal,
}

/// The format of a screen.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ScreenQuery {
    /// The format.
    #[serde(default)]
    #[param(inline)]
    format: Format,
}

/// The lines to read.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct LinesQuery {
    /// The line before which the page ends: the `from` of the page below. Without it, the page ends
    /// just above the screen.
    #[serde(default)]
    before: Option<u64>,
    /// The generation to which `before` belongs. If it is not the current one, the page is empty.
    #[serde(default)]
    generation: Option<u32>,
    /// The maximum number of lines on the page.
    #[serde(default)]
    #[param(value_type = u16, minimum = 1, maximum = 1000, default = 200)]
    lines: HistoryLines,
}

/// The format of a screen.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Format {
    /// The rows as text, without trailing blanks.
    #[default]
    Text,
    /// The bytes that put an empty terminal of the same size into the same state, with history.
    Ansi,
    /// A styled `<pre>` element, for a page or an e-mail.
    Html,
}

/// Type into a session
///
/// The response is sent once the terminal has received the input. After `timed_out`, the program
/// may still read it later.
#[utoipa::path(
    post, path = "/sessions/{session}/input", tag = "sessions", request_body = TerminalInput,
    params(("session" = SessionId, Path, description = "The session.")),
    responses(
        (status = 204, description = "The terminal has received the input."),
        (status = 404, description = "`unknown_session`."),
        (status = 409, description = "`session_ended`."),
        (status = 429, description = "`input_full`: the program does not read its input."),
        (status = 503, description = "`timed_out`: the program did not read the input for 10 s."),
    )
)]
pub(super) async fn input(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<SessionId>,
    Json(TerminalInput { data }): Json<TerminalInput>,
) -> Result<StatusCode, Problem> {
    let session = find(&shared, &caller, &id, SessionRight::Write)?;
    let author = Author::Request(Arc::new(caller.clone()));
    let typed = timeout(INPUT_TIMEOUT, session.input(data.into(), author));
    let typed = tokio::select! {
        // Reports input that was typed as typed, even if the server stops at the same time.
        biased;
        typed = typed => typed,
        () = shared.shutdown.begun() => {
            let detail = "the server is stopping, and the program has not read the input";
            return Err(Problem::new(ErrorCode::Overloaded, detail));
        }
    };

    match typed {
        Ok(result) => {
            result?;
            // The session drops input if its author has lost the right to type in the meantime.
            caller.check()?;
        }
        Err(_) => {
            let detail = "the program has not read the input for 10 s; it may still do so";
            return Err(Problem::new(ErrorCode::TimedOut, detail));
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Change the size of a session
///
/// The size applies until an attached connection types, which sets the size of its own window.
#[utoipa::path(
    post, path = "/sessions/{session}/resize", tag = "sessions", request_body = NewSize,
    params(("session" = SessionId, Path, description = "The session.")),
    responses(
        (status = 204, description = "The size is changed."),
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

/// Send a signal to the program of a session
#[utoipa::path(
    post, path = "/sessions/{session}/signal", tag = "sessions", request_body = NewSignal,
    params(("session" = SessionId, Path, description = "The session.")),
    responses(
        (status = 204, description = "The signal was sent."),
        (status = 404, description = "`unknown_session`."),
        (status = 409, description = "`session_ended`."),
        (status = 429, description = "`input_full`: the terminal's queue is full."),
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

/// Get the screen of a session
///
/// The current screen, or the last one if the program has ended.
#[utoipa::path(
    get, path = "/sessions/{session}/screen", tag = "sessions",
    params(("session" = SessionId, Path, description = "The session."), ScreenQuery),
    responses(
        (status = 200, description = "The screen in the requested format.", content(
            (String = "text/plain; charset=utf-8"),
            (String = "text/html; charset=utf-8"),
            ([u8] = "application/octet-stream"),
        )),
        (status = 404, description = "`unknown_session`."),
        (status = 409, description = "`session_ended`: the session was just closed."),
        (status = 503, description = "`overloaded`: four other requests are reading this screen."),
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
        // The program controls the text, which a browser must not mistake for HTML.
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, SCREEN_POLICY),
    ];

    let mut pieces = session.screen(format).await?;
    let first = pieces.next().unwrap_or_default();
    // Most screens fit into one piece, in which case the response has a length.
    let Some(second) = pieces.next() else {
        return Ok((headers, first).into_response());
    };

    let pieces = [first, second].into_iter().chain(pieces);
    // Renders each piece only after the client has read the previous one.
    let body = stream::unfold(pieces, async |mut pieces| {
        // Rendering takes time, so other tasks on the thread get a turn before each piece.
        tokio::task::yield_now().await;
        let piece = pieces.next()?;
        Some((Ok::<_, Infallible>(Bytes::from(piece)), pieces))
    });
    Ok((headers, Body::from_stream(body)).into_response())
}

/// Read the history of a session
///
/// The newest lines above the screen that precede `before`. The next older page ends at `from`.
#[utoipa::path(
    get, path = "/sessions/{session}/history", tag = "sessions",
    params(("session" = SessionId, Path, description = "The session."), LinesQuery),
    responses(
        (status = 200, description = "A page of lines, oldest first; empty if none precedes \
         `before`, or `generation` is not the current one.", body = HistoryPage),
        (status = 404, description = "`unknown_session`."),
        (status = 409, description = "`session_ended`: the session was just closed."),
        (status = 503, description = "`overloaded`: four other requests read this history."),
    )
)]
pub(super) async fn history(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<SessionId>,
    InQuery(LinesQuery { before, generation, lines }): InQuery<LinesQuery>,
) -> Result<axum::Json<HistoryPage>, Problem> {
    let session = find(&shared, &caller, &id, SessionRight::Attach)?;
    let HistoryLines(lines) = lines;
    let query = HistoryQuery { before, generation, lines };
    Ok(axum::Json(session.history(query).await?))
}

fn not_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let data = String::deserialize(deserializer)?;
    if data.is_empty() { Err(D::Error::custom("must not be empty")) } else { Ok(data) }
}
