//! The fields of a text line, quoted so that no value can imitate another field.

use std::fmt::{self, Debug};

use tracing::field::{Field, Visit};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{FormatFields, format::Writer},
};

/// A format of fields as `name=value`.
///
/// A value with blanks, `=`, quotes or control characters is quoted and escaped: clients choose
/// user ids, device names and parts of errors.
#[derive(Debug)]
pub(super) struct QuotedFields;

struct Visitor<'w> {
    writer: Writer<'w>,
    is_first: bool,
    result: fmt::Result,
}

impl<'w> FormatFields<'w> for QuotedFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut visitor = Visitor { writer, is_first: true, result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result
    }
}

impl Visit for Visitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        // Strings are always quoted, so that they differ from numbers.
        self.record(field, value, &format!("{value:?}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");

        let is_plain = !text.is_empty()
            && !text.chars().any(|c| c.is_whitespace() || c.is_control() || "=\"".contains(c));
        let quoted = if is_plain { text.clone() } else { format!("{text:?}") };
        self.record(field, &text, &quoted);
    }
}

impl Visitor<'_> {
    fn record(&mut self, field: &Field, text: &str, quoted: &str) {
        if self.result.is_ok() {
            self.result = self.write(field.name(), text, quoted);
        }
    }

    fn write(&mut self, name: &str, text: &str, quoted: &str) -> fmt::Result {
        if !std::mem::take(&mut self.is_first) {
            self.writer.write_char(' ')?;
        }

        // A field named by a Rust keyword, such as `r#type`.
        let name = name.strip_prefix("r#").unwrap_or(name);
        if name == "message" {
            // The message is one of this program, but a value inside it must not start a line.
            return text.chars().try_for_each(|c| match c.is_control() {
                true => write!(self.writer, "{}", c.escape_default()),
                false => self.writer.write_char(c),
            });
        }
        if self.writer.has_ansi_escapes() {
            // An italic name and a dim `=`, as in the default format.
            return write!(self.writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m{quoted}");
        }
        write!(self.writer, "{name}={quoted}")
    }
}
