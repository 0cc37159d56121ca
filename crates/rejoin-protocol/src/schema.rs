//! Schemas of texts, for the OpenAPI document of HTTP.

use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

/// A text that is not empty, of this pattern (ECMA-262) and at most so long.
pub(crate) fn text(rule: &str, pattern: Option<&str>, max: Option<usize>) -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::String))
        .description(Some(rule))
        .pattern(pattern)
        .min_length(Some(1))
        .max_length(max)
        .build()
}
