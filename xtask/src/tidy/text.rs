//! The first lines, notes and lengths of files.

use super::Finding;
use crate::tree::Tree;

/// The line that starts the tests of a Rust file.
pub(super) const TESTS: &str = "#[cfg(test)]";

const MAX_LINES: usize = 400;
const MAX_PAGE_LINES: usize = 300;
/// The folders whose Rust files start with a `//!` line.
const WITH_FIRST_LINE: [&str; 4] = ["crates/", "bench/", "examples/", "xtask/"];
/// The endings of files that are not generated.
const WRITTEN: [&str; 12] =
    [".css", ".html", ".js", ".md", ".mjs", ".py", ".rs", ".sh", ".toml", ".ts", ".tsx", ".yml"];
const CODE: [&str; 3] = [".rs", ".ts", ".tsx"];
/// Split, so that this file passes its own check.
const NOTES: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("HA", "CK")];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts() {
        if is_one_of(path, &CODE) {
            findings.extend(too_long(path, text));
        }
        if is_one_of(path, &WRITTEN) || path == ".ci/run" {
            findings.extend(notes(path, text));
        }
        if path.ends_with(".rs") && WITH_FIRST_LINE.iter().any(|w| path.starts_with(w)) {
            findings.extend(missing_first_line(path, text));
        }
    }
    findings
}

/// Returns the pages that are too long: a page has one subject.
pub(super) fn check_pages(tree: &Tree) -> Vec<Finding> {
    let pages = tree.texts().filter(|(path, _)| path.ends_with(".md"));
    // A change log only grows.
    let pages = pages.filter(|(path, _)| !path.ends_with("CHANGELOG.md"));
    pages
        .filter(|(_, text)| text.lines().count() > MAX_PAGE_LINES)
        .map(|(path, text)| {
            let wrong = format!("{} lines", text.lines().count());
            let allowed = format!("{MAX_PAGE_LINES}; move one subject to a page of its own");
            Finding::new(path, MAX_PAGE_LINES + 1, wrong, allowed)
        })
        .collect()
}

fn is_one_of(path: &str, endings: &[&str]) -> bool {
    endings.iter().any(|ending| path.ends_with(ending))
}

fn too_long(path: &str, text: &str) -> Option<Finding> {
    // Unit tests do not count: splitting a file for them helps no reader.
    let lines = text.lines().take_while(|line| line.trim() != TESTS).count();
    (lines > MAX_LINES).then(|| {
        Finding::new(
            path,
            MAX_LINES + 1,
            format!("{lines} lines before the tests"),
            format!("{MAX_LINES}; move one capability to a child file"),
        )
    })
}

fn notes(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for word in NOTES.iter().filter(|word| has_word(line, word)) {
            findings.push(Finding::new(
                path,
                index + 1,
                format!("the note {word}"),
                "an issue in the tracker, or the change itself",
            ));
        }
    }
    findings
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        // An underscore is a boundary, so that names of constants are found.
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

fn missing_first_line(path: &str, text: &str) -> Option<Finding> {
    let first = text.lines().next().unwrap_or_default();
    let has_doc = first.strip_prefix("//! ").is_some_and(|doc| !doc.trim().is_empty());
    (!has_doc).then(|| {
        Finding::new(path, 1, "lacks a description", "a first line `//! ...`, one sentence")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[(path, text)])).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn long_files_are_found_without_their_tests() {
        let long = format!("//! X.\n{}", "x\n".repeat(400));
        let found_long = found("crates/a/src/lib.rs", &long);

        assert_eq!(found_long.len(), 1);
        assert!(found_long[0].starts_with("crates/a/src/lib.rs:401: 401 lines"));
        assert_eq!(found("web/src/a.tsx", &long).len(), 1);

        let tested = format!("//! X.\n{TESTS}\n{}", "x\n".repeat(500));
        assert!(found("crates/a/src/lib.rs", &tested).is_empty());
    }

    #[test]
    fn notes_are_found_with_their_line() {
        for note in NOTES {
            let text = format!("fine\n// {note}: later\n");
            let found = found("client/src/a.ts", &text);

            assert_eq!(found.len(), 1);
            assert!(found[0].starts_with("client/src/a.ts:2: "), "{}", found[0]);
        }

        assert!(found("docs/a.md", concat!("a HA", "CKER, MASTO", "DON")).is_empty());
    }

    #[test]
    fn a_rust_file_without_a_description_is_found() {
        assert_eq!(found("bench/src/main.rs", "fn main() {}\n").len(), 1);
        assert_eq!(found("crates/a/src/b.rs", "//!\n//! Late.\n").len(), 1);
        assert!(found("examples/src/main.rs", "//! An example.\n").is_empty());
    }

    #[test]
    fn long_pages_are_found() {
        let found = |path: &str, lines: usize| {
            check_pages(&Tree::of(&[(path, &"x\n".repeat(lines))])).len()
        };

        assert_eq!(found("docs/a.md", 301), 1);
        assert_eq!(found("docs/a.md", 300), 0);
        assert_eq!(found("CHANGELOG.md", 301), 0);
    }
}
