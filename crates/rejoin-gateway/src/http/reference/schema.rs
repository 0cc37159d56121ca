//! Schemas as tables of fields, and as examples.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::http::reference::{escape, inline, text_of};

/// How deep schemas are followed: deeper than any of ours.
const MAX_DEPTH: usize = 6;

/// The document's schemas by name.
pub(super) struct Schemas<'a>(pub(super) &'a Value);

impl Schemas<'_> {
    /// Fields and an example of what is sent or answered.
    pub(super) fn content(&self, content: &Value) -> String {
        let schema = self.present(&content["schema"]);
        let mut out = String::new();
        let variants = ["oneOf", "anyOf"].iter().find_map(|key| schema[*key].as_array());
        match variants {
            Some(variants) => {
                for (index, variant) in variants.iter().enumerate() {
                    if index > 0 {
                        out.push_str("<p>or</p>");
                    }
                    let _ = write!(out, "<table>{}</table>", self.rows(variant, "", 0));
                }
            }
            None => {
                let _ = write!(out, "<table>{}</table>", self.rows(schema, "", 0));
            }
        }
        let example = serde_json::to_string_pretty(&self.example(schema, 0));
        let example = example.expect("an example is JSON");
        let _ = write!(
            out,
            "<details><summary>Example</summary><pre>{}</pre></details>",
            escape(&example)
        );
        out
    }

    /// What a schema is, in a few words.
    pub(super) fn kind(&self, schema: &Value) -> String {
        let schema = self.present(schema);
        if let Some(values) = schema["enum"].as_array() {
            let values: Vec<_> = values.iter().map(ToString::to_string).collect();
            return values.join(" | ");
        }
        let kind = match &schema["type"] {
            Value::String(kind) => kind.clone(),
            Value::Array(kinds) => {
                let kinds: Vec<_> = kinds.iter().filter_map(Value::as_str).collect();
                kinds.join(" or ")
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

    /// What a schema says of itself.
    pub(super) fn about<'a>(&'a self, schema: &'a Value) -> &'a str {
        let said = text_of(&schema["description"]);
        if said.is_empty() { text_of(&self.resolve(schema)["description"]) } else { said }
    }

    /// The fields of an object, those of objects within it below them.
    fn rows(&self, schema: &Value, prefix: &str, depth: usize) -> String {
        let schema = self.resolve(schema);
        let mut rows = String::new();
        for part in schema["allOf"].as_array().into_iter().flatten() {
            rows.push_str(&self.rows(part, prefix, depth));
        }
        // A part that is one of several: each has one field.
        for part in schema["oneOf"].as_array().into_iter().flatten() {
            rows.push_str(&self.rows(part, prefix, depth));
        }
        let required = schema["required"].as_array();
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let is_required = required.is_some_and(|names| names.iter().any(|it| it == name));
            let path = format!("{prefix}{name}");
            let about = self.about(field);
            rows.push_str(&row(&path, &self.kind(field), about, is_required));
            let present = self.present(field);
            let inner = if present["type"] == "array" { &present["items"] } else { present };
            let suffix = if present["type"] == "array" { "[]." } else { "." };
            if depth < MAX_DEPTH {
                rows.push_str(&self.rows(inner, &format!("{path}{suffix}"), depth + 1));
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
                let fields = schema["properties"].as_object().into_iter().flatten();
                let fields = fields.map(|(name, field)| {
                    let value = match name.as_str() {
                        // Nothing says "there is no other page" better.
                        "next" => Value::Null,
                        _ => self.example(field, depth + 1),
                    };
                    (name.clone(), value)
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

    /// A schema without its reference, and without the "or null" around it.
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

/// A row of a table of fields or parameters.
pub(super) fn row(name: &str, kind: &str, about: &str, is_required: bool) -> String {
    let must = if is_required { " <span class=\"must\">required</span>" } else { "" };
    format!(
        "<tr><td><code>{}</code>{must}</td><td>{} <span class=\"kind\">{}</span></td></tr>",
        escape(name),
        inline(about),
        escape(kind),
    )
}
