//! The tables of codes as TypeScript.

use std::fmt::Write as _;

use rejoin_protocol::code::{CloseCodeRow, ErrorCodeRow};

const HEAD: &str = "\
// The close codes and error codes of the protocol.
// Generated from crates/rejoin-protocol/src/code.rs by `cargo xtask codegen`: do not edit.
";

const TYPES: &str = r#"
/** The code of a close frame from the server. */
export type CloseCode = (typeof CLOSE_CODES)[number]["code"];

/** The code of an error response. */
export type ErrorCode = (typeof ERROR_CODES)[number]["code"];
"#;

/// Renders both tables as the source of a module.
pub(super) fn render(close: &[CloseCodeRow], errors: &[ErrorCodeRow]) -> String {
    let mut out = String::from(HEAD);

    out.push_str("\n/** The reasons for a close, and whether a client reconnects. */\n");
    out.push_str("export const CLOSE_CODES = [\n");
    for row in close {
        // All fields are named, so that a new column of the table is not forgotten here.
        let CloseCodeRow { code, name, reconnect, description } = row;
        let (name, description) = (literal(name), literal(description));
        let _ = writeln!(
            out,
            "  {{ code: {code}, name: {name}, reconnect: {reconnect}, description: {description} }},"
        );
    }

    out.push_str(
        "] as const;\n\n/** The reasons for an error, and whether a retry can succeed. */\n",
    );
    out.push_str("export const ERROR_CODES = [\n");
    for row in errors {
        let ErrorCodeRow { code, number, retryable, description } = row;
        let (code, description) = (literal(code), literal(description));
        let _ = writeln!(
            out,
            "  {{ code: {code}, number: {number}, retryable: {retryable}, description: {description} }},"
        );
    }

    out.push_str("] as const;\n");
    out.push_str(TYPES);
    out
}

/// Returns a string literal; every JSON literal is one of TypeScript.
fn literal(value: &str) -> serde_json::Value {
    value.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_in_a_description_are_escaped() {
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
