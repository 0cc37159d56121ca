//! Lock files pin packages and do not name the hosts of registries.

use super::Finding;
use crate::tree::Tree;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts() {
        let name = path.rsplit('/').next().unwrap_or(path);
        // By line, not by parser: each of the three files keeps a source on a line of its own.
        let problem: fn(&str) -> Option<(String, &'static str)> = match name {
            "package-lock.json" => npm_lock,
            "Cargo.lock" => cargo_lock,
            ".npmrc" => npm_settings,
            _ => continue,
        };

        for (index, line) in text.lines().enumerate() {
            if let Some((wrong, allowed)) = problem(line.trim()) {
                findings.push(Finding::new(path, index + 1, wrong, allowed));
            }
        }
    }
    findings
}

fn npm_lock(line: &str) -> Option<(String, &'static str)> {
    let resolved = line.strip_prefix("\"resolved\":")?.trim().trim_matches([',', '"']);
    resolved.contains("://").then(|| {
        (
            format!("names the host of a package: {resolved}"),
            "a lock file made with `npm install --omit-lockfile-registry-resolved`",
        )
    })
}

fn cargo_lock(line: &str) -> Option<(String, &'static str)> {
    let source = line.strip_prefix("source = ")?.trim_matches('"');
    (source != CRATES_IO).then(|| (format!("a crate from {source}"), "crates from crates.io"))
}

fn npm_settings(line: &str) -> Option<(String, &'static str)> {
    line.contains("registry=").then(|| {
        ("names a package registry".to_owned(), "the registry of the machine's own settings")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<usize> {
        check(&Tree::of(&[(path, text)])).iter().map(|f| f.line).collect()
    }

    #[test]
    fn a_registry_host_in_an_npm_lock_is_found() {
        let lock = "{\n\"resolved\": \"https://registry.npmjs.org/ws/-/ws-8.0.0.tgz\",\n\"resolved\": \"client\",\n";

        assert_eq!(found("package-lock.json", lock), [2]);
        assert_eq!(found("crates/rejoin-screen/xterm/package-lock.json", lock), [2]);
    }

    #[test]
    fn a_crate_from_another_source_is_found() {
        let lock = format!("source = \"{CRATES_IO}\"\nsource = \"git+https://example.org/a\"\n");

        assert_eq!(found("Cargo.lock", &lock), [2]);
    }

    #[test]
    fn a_registry_in_npm_settings_is_found() {
        assert_eq!(found(".npmrc", "fund=false\nregistry=https://example.org/\n"), [2]);
    }
}
