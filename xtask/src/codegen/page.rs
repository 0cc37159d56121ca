//! The tables in docs/protocol-codes.md, and the fingerprint of the source that it describes.

use std::fmt::Write as _;

use anyhow::{Context as _, bail};
use rejoin_protocol::code::{CloseCodeRow, ErrorCodeRow};

use crate::tree::Tree;

/// The page with the tables.
pub(crate) const PATH: &str = "docs/protocol-codes.md";
/// The folder with the source that the page describes.
pub(crate) const SOURCE: &str = "crates/rejoin-protocol/src";

const BEGIN: &str = "<!-- codes:begin -->";
const END: &str = "<!-- codes:end -->";
/// The start of the line with the fingerprint.
const SOURCE_START: &str = "<!-- protocol-source:";
const SOURCE_END: &str = "-->";

/// Returns the current fingerprint of the protocol's source.
pub(crate) fn source_fingerprint(tree: &Tree) -> String {
    tree.fingerprint(&[SOURCE])
}

/// Returns the fingerprint on the page, with its line from 1.
pub(crate) fn page_fingerprint(page: &str) -> Option<(usize, &str)> {
    page.lines().enumerate().find_map(|(index, line)| {
        let fingerprint = line.trim().strip_prefix(SOURCE_START)?.strip_suffix(SOURCE_END)?;
        Some((index + 1, fingerprint.trim()))
    })
}

/// Replaces the tables and the fingerprint of a page.
///
/// # Errors
/// If the page does not have both markers once, in their order.
pub(crate) fn refresh(page: &str, tables: &str, source: &str) -> anyhow::Result<String> {
    // The markers are checked before anything is replaced: a page that lost one of them would
    // otherwise lose the text after it as well.
    let missing = || format!("{PATH} has no `{BEGIN}` followed by `{END}` for the tables");
    let (before, rest) = page.split_once(BEGIN).with_context(missing)?;
    let (old, after) = rest.split_once(END).with_context(missing)?;
    if old.contains(BEGIN) || after.contains(END) {
        bail!("{PATH} has more than one `{BEGIN}` or `{END}`");
    }

    let page = format!("{before}{BEGIN}\n\n{tables}\n{END}{after}");
    let source_line = format!("{SOURCE_START} {source} {SOURCE_END}");
    // A new page has no fingerprint; it gets one at its end.
    let Some((number, _)) = page_fingerprint(&page) else {
        return Ok(format!("{}\n\n{source_line}\n", page.trim_end()));
    };

    let mut out = String::with_capacity(page.len());
    for (index, line) in page.lines().enumerate() {
        out.push_str(if index + 1 == number { &source_line } else { line });
        out.push('\n');
    }
    Ok(out)
}

/// Renders both tables as Markdown.
pub(crate) fn tables(close: &[CloseCodeRow], errors: &[ErrorCodeRow]) -> String {
    let mut out = String::from("| close code | name | reconnect | meaning |\n|---|---|---|---|\n");
    for CloseCodeRow { code, name, reconnect, description } in close {
        let (reconnect, meaning) = (yes_no(*reconnect), cell(description));
        let _ = writeln!(out, "| {code} | `{name}` | {reconnect} | {meaning} |");
    }

    out.push_str("\n| error code | number | retry | meaning |\n|---|---|---|---|\n");
    for ErrorCodeRow { code, number, retryable, description } in errors {
        let (retryable, meaning) = (yes_no(*retryable), cell(description));
        let _ = writeln!(out, "| `{code}` | {number} | {retryable} | {meaning} |");
    }

    out
}

fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

/// Escapes a text for a table cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# P\n<!-- codes:begin -->\nold\n<!-- codes:end -->\nrest\n";

    #[test]
    fn only_the_text_between_the_markers_changes() {
        let page = refresh(PAGE, "| new |\n", "00ff").unwrap();

        assert_eq!(
            page,
            "# P\n<!-- codes:begin -->\n\n| new |\n\n<!-- codes:end -->\nrest\n\n<!-- protocol-source: 00ff -->\n"
        );
        assert_eq!(refresh(&page, "| new |\n", "00ff").unwrap(), page);
    }

    #[test]
    fn an_existing_fingerprint_is_replaced_in_place() {
        let page = refresh(&format!("<!-- protocol-source: 1 -->\n{PAGE}"), "", "2").unwrap();

        assert_eq!(page_fingerprint(&page), Some((1, "2")));
        assert_eq!(page.matches("protocol-source").count(), 1);
    }

    #[test]
    fn a_page_without_markers_is_refused() {
        let reversed = "<!-- codes:end --> <!-- codes:begin -->";

        assert!(refresh("# P\n", "", "").is_err());
        assert!(refresh(reversed, "", "").is_err());
    }

    #[test]
    fn a_bar_in_a_description_is_escaped() {
        let rows =
            [CloseCodeRow { code: 4000, name: "a", reconnect: false, description: "this | that" }];
        assert!(tables(&rows, &[]).contains(r"| 4000 | `a` | no | this \| that |"));
    }
}
