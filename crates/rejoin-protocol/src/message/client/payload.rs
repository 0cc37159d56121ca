//! Parsing of JSON objects with errors that name the wrong field.

use serde::Deserialize;

use crate::{ErrorCode, message::ErrorBody};

/// Parses a payload.
///
/// # Errors
/// `missing_field` or `invalid_field`; the message names the field.
pub(super) fn read<'a, T: Deserialize<'a>>(payload: &'a str) -> Result<T, ErrorBody> {
    // serde_json would also accept an array of the fields.
    if !is_object(payload) {
        return Err(ErrorBody::new(ErrorCode::InvalidField, "`payload` must be an object"));
    }
    serde_json::from_str(payload).map_err(|error| explain::<T>(payload, &error))
}

/// Returns `true` if a JSON text is an object.
///
/// Without this check serde would read an array's elements as the fields of a struct.
pub(super) fn is_object(json: &str) -> bool {
    json.trim_ascii_start().starts_with('{')
}

/// Returns the error body for a failed parse, with the path of the wrong field.
///
/// It parses the text again, because recording the path would slow down each valid message.
pub(super) fn explain<'a, T: Deserialize<'a>>(
    json: &'a str,
    error: &serde_json::Error,
) -> ErrorBody {
    // Parsed a second time: only invalid payloads pay for the path of the error.
    let mut deserializer = serde_json::Deserializer::from_str(json);
    match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Ok(_) => error_body(error, "."),
        Err(error) => error_body(error.inner(), &error.path().to_string()),
    }
}

fn error_body(error: &serde_json::Error, path: &str) -> ErrorBody {
    let sentence = error.to_string();
    // serde_json counts lines and columns from the payload's start, which the client cannot see.
    let sentence = sentence.split(" at line ").next().unwrap_or(&sentence);
    let code = if sentence.starts_with("missing field") {
        ErrorCode::MissingField
    } else {
        ErrorCode::InvalidField
    };

    // "." is the path of the whole object.
    let message = if path == "." { sentence.to_owned() } else { format!("`{path}`: {sentence}") };
    ErrorBody::new(code, message)
}
