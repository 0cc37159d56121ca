//! The codes as TypeScript.

use std::fmt::Write as _;

use rejoin_protocol::code::{CloseCodeRow, ErrorCodeRow};

const HEAD: &str = "\
// The close codes and error codes of the protocol.
// Generated from crates/rejoin-protocol/src/code.rs by `cargo xtask codegen`: do not edit.
";

const TYPES: &str = r#"
/** A number that the server closes a connection with. */
export type CloseCode = (typeof CLOSE_CODES)[number]["code"];

/** What the server answers instead of what was asked for. */
export type ErrorCode = (typeof ERROR_CODES)[number]["code"];
"#;

pub(super) fn render(close: &[CloseCodeRow], errors: &[ErrorCodeRow]) -> String {
    let mut out = String::from(HEAD);
    out.push_str("\n/** Why a connection was closed, and whether to come back. */\n");
    out.push_str("export const CLOSE_CODES = [\n");
    for row in close {
        let CloseCodeRow { code, name, reconnect, description } = row;
        let (name, description) = (text(name), text(description));
        let _ = writeln!(
            out,
            "  {{ code: {code}, name: {name}, reconnect: {reconnect}, description: {description} }},"
        );
    }
    out.push_str("] as const;\n\n/** Why a request was refused, and whether to try again. */\n");
    out.push_str("export const ERROR_CODES = [\n");
    for row in errors {
        let ErrorCodeRow { code, number, retryable, description } = row;
        let (code, description) = (text(code), text(description));
        let _ = writeln!(
            out,
            "  {{ code: {code}, number: {number}, retryable: {retryable}, description: {description} }},"
        );
    }
    out.push_str("] as const;\n");
    out.push_str(TYPES);
    out
}

/// A string literal; JSON's is TypeScript's.
fn text(value: &str) -> serde_json::Value {
    value.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_becomes_a_literal_with_its_quotes_escaped() {
        let close = [CloseCodeRow {
            code: 4000,
            name: "draining",
            reconnect: true,
            description: "The server says \"later\".",
        }];
        let errors = [ErrorCodeRow {
            code: "unknown_type",
            number: 100,
            retryable: false,
            description: "No handler.",
        }];
        let out = render(&close, &errors);
        assert!(out.contains(
            r#"  { code: 4000, name: "draining", reconnect: true, description: "The server says \"later\"." },"#
        ));
        assert!(out.contains(
            r#"  { code: "unknown_type", number: 100, retryable: false, description: "No handler." },"#
        ));
    }
}
