//! OpenAPI schemas of the crate's text types.

use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

/// Returns the schema of a non-empty text.
///
/// `pattern` is an ECMA-262 regular expression; `max` is the maximum length in characters.
pub(crate) fn text(rule: &str, pattern: Option<&str>, max: Option<usize>) -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::String))
        .description(Some(rule))
        .pattern(pattern)
        .min_length(Some(1))
        .max_length(max)
        .build()
}
