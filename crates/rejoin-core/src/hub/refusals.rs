//! The errors that several parts of the hub return.

use rejoin_protocol::{ErrorCode, SessionId, message::ErrorBody};

/// Returns the error of a session that does not exist, or that the caller may not see.
pub(super) fn unknown_session(id: &SessionId) -> ErrorBody {
    let sentence = format!("there is no session `{id}`, or it is not yours");
    ErrorBody::new(ErrorCode::UnknownSession, sentence)
}

/// Returns the error of a request that the store does not answer.
pub(super) fn store_is_away() -> ErrorBody {
    let sentence = "the store of sessions does not answer; nothing was changed; try again later";
    ErrorBody::new(ErrorCode::Overloaded, sentence)
}
