//! What source files say: a first line, no notes to oneself, and not too much.

use super::Finding;
use crate::tree::Tree;

/// From here on a Rust file is tests.
pub(super) const TESTS: &str = "#[cfg(test)]";

const MAX_LINES: usize = 400;
/// Where each Rust file says what it is.
const WITH_FIRST_LINE: [&str; 4] = ["crates/", "bench/", "examples/", "xtask/"];
/// Files that people write.
const WRITTEN: [&str; 12] =
    [".css", ".html", ".js", ".md", ".mjs", ".py", ".rs", ".sh", ".toml", ".ts", ".tsx", ".yml"];
const CODE: [&str; 3] = [".rs", ".ts", ".tsx"];
/// Written so that this file does not find itself.
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
            findings.extend(no_first_line(path, text));
        }
    }
    findings
}

fn is_one_of(path: &str, endings: &[&str]) -> bool {
    endings.iter().any(|ending| path.ends_with(ending))
}

fn too_long(path: &str, text: &str) -> Option<Finding> {
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
                format!("a note to oneself: {word}"),
                "an issue in the tracker, or doing it",
            ));
        }
    }
    findings
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

fn no_first_line(path: &str, text: &str) -> Option<Finding> {
    let first = text.lines().next().unwrap_or_default();
    let says = first.strip_prefix("//! ").is_some_and(|said| !said.trim().is_empty());
    (!says).then(|| {
        Finding::new(path, 1, "does not say what it is", "a first line `//! ...`, one sentence")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[(path, text)])).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_long_file_is_found_but_its_tests_do_not_count() {
        let long = format!("//! X.\n{}", "x\n".repeat(400));
        let found_long = found("crates/a/src/lib.rs", &long);
        assert_eq!(found_long.len(), 1);
        assert!(found_long[0].starts_with("crates/a/src/lib.rs:401: 401 lines"));
        assert_eq!(found("web/src/a.tsx", &long).len(), 1);
        let tested = format!("//! X.\n{TESTS}\n{}", "x\n".repeat(500));
        assert!(found("crates/a/src/lib.rs", &tested).is_empty());
    }

    #[test]
    fn notes_to_oneself_are_found_with_their_line() {
        for note in NOTES {
            let text = format!("fine\n// {note}: later\n");
            let found = found("client/src/a.ts", &text);
            assert_eq!(found.len(), 1);
            assert!(found[0].starts_with("client/src/a.ts:2: "), "{}", found[0]);
        }
        assert!(found("docs/a.md", concat!("a HA", "CKER, MASTO", "DON")).is_empty());
    }

    #[test]
    fn a_rust_file_without_a_first_line_is_found() {
        assert_eq!(found("bench/src/main.rs", "fn main() {}\n").len(), 1);
        assert_eq!(found("crates/a/src/b.rs", "//!\n//! Late.\n").len(), 1);
        assert!(found("examples/src/main.rs", "//! An example.\n").is_empty());
    }
}
