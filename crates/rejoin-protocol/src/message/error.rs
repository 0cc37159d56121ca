//! The body of an error.

use std::borrow::Cow;

use serde::Serialize;

use crate::{ErrorCode, limits::MAX_ERROR_BYTES};

/// The body of an error: a code and a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct ErrorBody {
    /// The code from the error code table.
    pub code: ErrorCode,
    /// The explanation for people: the problem and the allowed values.
    pub message: Cow<'static, str>,
    /// True if the same request may succeed later.
    pub retryable: bool,
}

impl ErrorBody {
    /// Creates an error with its own message.
    ///
    /// The message may quote the request, so it is cut to [`MAX_ERROR_BYTES`].
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        const ELLIPSIS: &str = " [...]";

        // Cut at a character boundary: the message must stay UTF-8.
        let mut message = message.into();
        if message.len() > MAX_ERROR_BYTES {
            let end = message.floor_char_boundary(MAX_ERROR_BYTES - ELLIPSIS.len());
            message = Cow::Owned([&message[..end], ELLIPSIS].concat());
        }

        Self { code, message, retryable: code.row().retryable }
    }
}

impl From<ErrorCode> for ErrorBody {
    /// Creates an error whose message is the description in the code table.
    fn from(code: ErrorCode) -> Self {
        Self::new(code, code.row().description)
    }
}
