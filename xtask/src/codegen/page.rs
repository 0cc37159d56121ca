//! The tables in docs/protocol.md, and the line that ties the page to the protocol's source.

use std::fmt::Write as _;

use anyhow::{Context as _, bail};
use rejoin_protocol::code::{CloseCodeRow, ErrorCodeRow};

use crate::tree::Tree;

/// The page.
pub const PATH: &str = "docs/protocol.md";
/// The source that the page describes.
pub const SOURCE: &str = "crates/rejoin-protocol/src";

const BEGIN: &str = "<!-- codes:begin -->";
const END: &str = "<!-- codes:end -->";
const TIE_START: &str = "<!-- protocol-source: ";
const TIE_END: &str = " -->";

/// The fingerprint of the protocol's source.
#[must_use]
pub fn source(tree: &Tree) -> String {
    tree.fingerprint(&[SOURCE])
}

/// The fingerprint that the page was written for, with its line.
#[must_use]
pub fn tie(page: &str) -> Option<(usize, &str)> {
    page.lines().enumerate().find_map(|(index, line)| {
        Some((index + 1, line.trim().strip_prefix(TIE_START)?.strip_suffix(TIE_END)?))
    })
}

/// The page with these tables and this fingerprint, the rest as it was.
///
/// # Errors
/// When the page does not have both markers, in their order.
pub fn refresh(page: &str, tables: &str, source: &str) -> anyhow::Result<String> {
    let missing = || format!("{PATH} has no `{BEGIN}` followed by `{END}` for the tables");
    let (before, rest) = page.split_once(BEGIN).with_context(missing)?;
    let (old, after) = rest.split_once(END).with_context(missing)?;
    if old.contains(BEGIN) || after.contains(END) {
        bail!("{PATH} has more than one `{BEGIN}` or `{END}`");
    }
    let page = format!("{before}{BEGIN}\n\n{tables}\n{END}{after}");
    let tie_line = format!("{TIE_START}{source}{TIE_END}");
    let Some((number, _)) = tie(&page) else {
        return Ok(format!("{}\n\n{tie_line}\n", page.trim_end()));
    };
    let mut out = String::with_capacity(page.len());
    for (index, line) in page.lines().enumerate() {
        out.push_str(if index + 1 == number { &tie_line } else { line });
        out.push('\n');
    }
    Ok(out)
}

/// Both tables as Markdown.
#[must_use]
pub fn tables(close: &[CloseCodeRow], errors: &[ErrorCodeRow]) -> String {
    let mut out = String::from("| close code | name | come back | meaning |\n|---|---|---|---|\n");
    for CloseCodeRow { code, name, reconnect, description } in close {
        let (back, meaning) = (yes_no(*reconnect), cell(description));
        let _ = writeln!(out, "| {code} | `{name}` | {back} | {meaning} |");
    }
    out.push_str("\n| error code | number | try again | meaning |\n|---|---|---|---|\n");
    for ErrorCodeRow { code, number, retryable, description } in errors {
        let (again, meaning) = (yes_no(*retryable), cell(description));
        let _ = writeln!(out, "| `{code}` | {number} | {again} | {meaning} |");
    }
    out
}

fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# P\n<!-- codes:begin -->\nold\n<!-- codes:end -->\nrest\n";

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let page = refresh(PAGE, "| new |\n", "00ff").unwrap();
        assert_eq!(
            page,
            "# P\n<!-- codes:begin -->\n\n| new |\n\n<!-- codes:end -->\nrest\n\n<!-- protocol-source: 00ff -->\n"
        );
        assert_eq!(refresh(&page, "| new |\n", "00ff").unwrap(), page);
    }

    #[test]
    fn the_fingerprint_is_refreshed_where_it_stands() {
        let page = refresh(&format!("<!-- protocol-source: 1 -->\n{PAGE}"), "", "2").unwrap();
        assert_eq!(tie(&page), Some((1, "2")));
        assert_eq!(page.matches("protocol-source").count(), 1);
    }

    #[test]
    fn a_page_without_markers_is_refused() {
        let reversed = "<!-- codes:end --> <!-- codes:begin -->";
        assert!(refresh("# P\n", "", "").is_err());
        assert!(refresh(reversed, "", "").is_err());
    }

    #[test]
    fn a_bar_does_not_end_a_cell() {
        let rows =
            [CloseCodeRow { code: 4000, name: "a", reconnect: false, description: "this | that" }];
        assert!(tables(&rows, &[]).contains(r"| 4000 | `a` | no | this \| that |"));
    }
}
