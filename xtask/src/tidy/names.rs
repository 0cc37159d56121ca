//! The names of files and folders, and the entries of the root.

use super::Finding;
use crate::tree::Tree;

/// Names that do not describe their content.
const EMPTY_WORDS: [&str; 8] =
    ["common", "helper", "helpers", "manager", "misc", "types", "util", "utils"];

/// The pages, settings and folders of the root. Hidden files are settings.
const ROOT: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "bench",
    "biome.json",
    "client",
    "clippy.toml",
    "crates",
    "deny.toml",
    "docs",
    "examples",
    "package-lock.json",
    "package.json",
    "packaging",
    "rustfmt.toml",
    "tsconfig.base.json",
    "tsconfig.json",
    "web",
    "xtask",
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen = Vec::new();
    for file in tree.files() {
        let path = file.path.as_str();
        let top = path.split('/').next().unwrap_or_default();
        // Each entry once, not once per file below it.
        if !top.starts_with('.') && !ROOT.contains(&top) && !seen.contains(&top) {
            seen.push(top);
            findings.push(Finding::new(
                top,
                1,
                "unknown in the root",
                "pages and settings, listed in xtask/src/tidy/names.rs",
            ));
        }

        if path.ends_with("/mod.rs") {
            findings.push(Finding::new(path, 1, "a `mod.rs`", "`foo.rs` next to `foo/`"));
        }

        if let Some(word) = empty_word(path) {
            findings.push(Finding::new(
                path,
                1,
                format!("`{word}` does not describe the content"),
                "the name of its one subject",
            ));
        }
    }
    findings
}

fn empty_word(path: &str) -> Option<&str> {
    // The stem up to the first dot: `types.d.ts` is `types`.
    path.split('/')
        .map(|part| part.split('.').next().unwrap_or(part))
        .flat_map(|stem| [stem, stem.trim_start_matches("rejoin-")])
        .find(|stem| EMPTY_WORDS.contains(&stem.to_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str) -> Vec<String> {
        check(&Tree::of(&[(path, "")])).iter().map(|f| f.wrong.clone()).collect()
    }

    #[test]
    fn empty_names_are_found_at_all_levels() {
        for path in [
            "crates/rejoin-core/src/utils.rs",
            "crates/rejoin-core/src/helpers/a.rs",
            "crates/rejoin-common/src/lib.rs",
            "client/src/types.ts",
            "web/src/Manager.tsx",
        ] {
            assert_eq!(found(path).len(), 1, "{path}");
        }
        assert!(found("client/src/prototypes.ts").is_empty());
    }

    #[test]
    fn a_mod_rs_is_found() {
        assert_eq!(found("crates/rejoin-core/src/hub/mod.rs"), ["a `mod.rs`"]);
    }

    #[test]
    fn an_unknown_entry_of_the_root_is_found_once() {
        assert_eq!(found("notes.txt"), ["unknown in the root"]);

        let tree = Tree::of(&[("tmp/a", ""), ("tmp/b", ""), ("README.md", ""), (".ci/run", "")]);
        assert_eq!(check(&tree).len(), 1);
    }
}
