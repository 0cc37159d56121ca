//! Tables of fields, and examples, rendered from schemas.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::http::reference::{escape, inline, text_of};

/// The maximum nesting depth that is rendered: deeper than any schema of the API.
const MAX_DEPTH: usize = 6;

/// The direction of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Request,
    Response,
}

/// The document's schemas by name.
pub(super) struct Schemas<'a>(pub(super) &'a Value);

impl Schemas<'_> {
    /// Renders the fields and an example of a request body.
    pub(super) fn body(&self, content: &Value) -> String {
        let schema = self.present(&content["schema"]);
        let tables: Vec<_> = match schema["oneOf"].as_array() {
            Some(variants) => {
                variants.iter().map(|it| self.table(it, Direction::Request)).collect()
            }
            None => vec![self.table(schema, Direction::Request)],
        };
        format!("{}{}", tables.join("<p>or</p>"), self.example_of(schema))
    }

    /// Renders the fields and an example of a response body, collapsed.
    pub(super) fn answer(&self, content: &Value) -> String {
        let schema = &content["schema"];
        let table = self.table(schema, Direction::Response);
        let example = self.example_of(schema);
        format!("<details><summary>Fields</summary>{table}{example}</details>")
    }

    fn table(&self, schema: &Value, direction: Direction) -> String {
        format!("<table>{}</table>", self.rows(schema, "", direction))
    }

    fn example_of(&self, schema: &Value) -> String {
        let example = serde_json::to_string_pretty(&self.example(schema, 0));
        format!("<pre>{}</pre>", escape(&example.expect("an example is JSON")))
    }

    /// Describes the type of a schema in a few words.
    pub(super) fn kind(&self, schema: &Value) -> String {
        let kind = self.kind_of_present(self.present(schema));
        if is_nullable(schema) { format!("{kind}, or null") } else { kind }
    }

    fn kind_of_present(&self, schema: &Value) -> String {
        if let Some(values) = schema["enum"].as_array() {
            let values: Vec<_> = values.iter().map(ToString::to_string).collect();
            return values.join(" | ");
        }
        let kind = match &schema["type"] {
            Value::String(kind) => kind.clone(),
            Value::Array(kinds) => {
                let kinds: Vec<_> = kinds.iter().filter_map(Value::as_str).collect();
                kinds.join(", or ")
            }
            _ if schema["oneOf"].is_array() || schema["allOf"].is_array() => "object".to_owned(),
            _ => "any JSON".to_owned(),
        };
        if schema["type"] == "array" {
            return format!("list of {}", self.kind(&schema["items"]));
        }
        let mut kind = kind;
        let bounds = match (&schema["minimum"], &schema["maximum"]) {
            (Value::Number(min), Value::Number(max)) => format!(", {min} to {max}"),
            (Value::Number(min), _) if min.as_u64() != Some(0) => format!(", from {min}"),
            _ => String::new(),
        };
        kind.push_str(&bounds);
        if let Some(max) = schema["maxLength"].as_u64() {
            let _ = write!(kind, ", at most {max} characters");
        }
        if !schema["default"].is_null() {
            let _ = write!(kind, ", default {}", schema["default"]);
        }
        kind
    }

    /// Returns the description of a schema.
    pub(super) fn about<'a>(&'a self, schema: &'a Value) -> &'a str {
        let variants = schema["oneOf"].as_array().into_iter().flatten();
        let description = std::iter::once(schema)
            .chain(variants)
            .map(|it| text_of(&it["description"]))
            .find(|text| !text.is_empty());
        description.unwrap_or_else(|| text_of(&self.present(schema)["description"]))
    }

    /// Renders the rows of an object's fields, with those of nested objects below them.
    fn rows(&self, schema: &Value, prefix: &str, direction: Direction) -> String {
        let schema = self.resolve(schema);
        let mut rows = String::new();
        // The parts of an `allOf` form one object. Each variant of a `oneOf` adds its fields.
        for part in ["allOf", "oneOf"].iter().flat_map(|key| schema[*key].as_array()).flatten() {
            rows.push_str(&self.rows(part, prefix, direction));
        }
        for (name, field) in fields(schema) {
            let path = format!("{prefix}{name}");
            let must = direction == Direction::Request && is_required(schema, name);
            rows.push_str(&row(&path, &self.kind(field), self.about(field), must));
            let present = self.present(field);
            let (inner, suffix) = match &present["type"] {
                Value::String(kind) if kind == "array" => (&present["items"], "[]."),
                _ => (present, "."),
            };
            // A schema may contain itself.
            if path.matches('.').count() < MAX_DEPTH {
                rows.push_str(&self.rows(inner, &format!("{path}{suffix}"), direction));
            }
        }
        rows
    }

    fn example(&self, schema: &Value, depth: usize) -> Value {
        let schema = self.present(schema);
        if !schema["example"].is_null() || depth > MAX_DEPTH {
            return schema["example"].clone();
        }
        if let Some(parts) = schema["allOf"].as_array() {
            let mut whole = Map::new();
            for part in parts {
                if let Value::Object(fields) = self.example(part, depth + 1) {
                    whole.extend(fields);
                }
            }
            return whole.into();
        }
        if let Some(first) = schema["oneOf"].as_array().and_then(|variants| variants.first()) {
            return self.example(first, depth + 1);
        }
        if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
            return first.clone();
        }
        let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str());
        match kind {
            Some("object") => {
                let fields = fields(schema).into_iter().map(|(name, field)| {
                    let value = match name {
                        // The example shows a last page.
                        "next" => Value::Null,
                        _ => self.example(field, depth + 1),
                    };
                    (name.to_owned(), value)
                });
                fields.collect::<Map<_, _>>().into()
            }
            Some("array") => json!([self.example(&schema["items"], depth + 1)]),
            Some("integer" | "number") => {
                schema["default"].as_u64().or_else(|| schema["minimum"].as_u64()).into()
            }
            Some("boolean") => false.into(),
            Some("string") => "…".into(),
            _ => json!({}),
        }
    }

    /// Resolves a schema's reference, and strips an `or null`.
    fn present<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let schema = self.resolve(schema);
        let variants = schema["oneOf"].as_array();
        let others = variants.map(|all| all.iter().filter(|it| it["type"] != "null"));
        match others.map(Iterator::collect::<Vec<_>>).as_deref() {
            Some([one]) => self.resolve(one),
            _ => schema,
        }
    }

    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let name = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next());
        name.map_or(schema, |name| &self.0[name])
    }
}

/// Returns the fields of an object: the required ones in their order, then the others.
fn fields(schema: &Value) -> Vec<(&str, &Value)> {
    let fields = schema["properties"].as_object().into_iter().flatten();
    let mut fields: Vec<_> = fields.map(|(name, field)| (name.as_str(), field)).collect();
    let rank = |name: &str| {
        let required = schema["required"].as_array();
        let rank = required.and_then(|names| names.iter().position(|it| it == name));
        rank.unwrap_or(usize::MAX)
    };
    fields.sort_by_key(|(name, _)| rank(name));
    fields
}

fn is_required(schema: &Value, name: &str) -> bool {
    schema["required"].as_array().is_some_and(|names| names.iter().any(|it| it == name))
}

fn is_nullable(schema: &Value) -> bool {
    let variants = schema["oneOf"].as_array();
    variants.is_some_and(|variants| variants.iter().any(|it| it["type"] == "null"))
}

/// Renders a row in a table of fields or parameters.
pub(super) fn row(name: &str, kind: &str, about: &str, is_required: bool) -> String {
    let must = if is_required { " <span class=\"must\">required</span>" } else { "" };
    format!(
        "<tr><td><code>{}</code>{must}</td><td>{} <span class=\"kind\">{}</span></td></tr>",
        escape(name),
        inline(about),
        escape(kind),
    )
}
