//! Licences and banned crates of the dependency graph, by the rules in deny.toml.
//!
//! cargo-deny checks the same rules in the workflow. Compiling it takes minutes, this check less
//! than a second.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;
use spdx::{Expression, ParseMode};
use xshell::{Shell, cmd};

use super::Finding;
use crate::tree::Tree;

const RULES: &str = "deny.toml";

#[derive(Debug, Deserialize)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Debug, Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    /// The crates that may depend on it.
    #[serde(default)]
    wrappers: Vec<String>,
    reason: String,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    license: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    /// The ids of the direct dependencies, for all targets.
    dependencies: Vec<String>,
}

/// Checks the dependencies for all targets and features.
///
/// # Errors
/// If cargo cannot resolve them, or deny.toml lacks a rule.
pub(super) fn check(sh: &Shell, tree: &Tree) -> anyhow::Result<Vec<Finding>> {
    let rules = tree.text(RULES).with_context(|| format!("cannot read {RULES}"))?;
    // Not offline: the first call downloads the manifests of other targets.
    let json = cmd!(sh, "cargo metadata --format-version 1 --all-features --locked").quiet();
    let metadata: Value = serde_json::from_str(&json.read()?)?;
    findings(rules, metadata)
}

fn findings(rules: &str, metadata: Value) -> anyhow::Result<Vec<Finding>> {
    let Rules { licenses, bans } = toml::from_str(rules).context(RULES)?;
    let Metadata { packages, resolve } = serde_json::from_value(metadata)?;
    let names: BTreeMap<&str, &str> =
        packages.iter().map(|package| (package.id.as_str(), package.name.as_str())).collect();

    // The packages of the workspace are checked as well.
    let mut findings = Vec::new();
    for package in &packages {
        if let Some(problem) = licence_problem(package.license.as_deref(), &licenses.allow) {
            let wrong = format!("`{}` {problem}", package.name);
            let line = line_of(rules, "[licenses]");
            findings.push(Finding::new(RULES, line, wrong, licenses.allow.join(", ")));
        }
    }

    // Only direct dependents matter: a wrapper hides a crate from its own dependents.
    for node in &resolve.nodes {
        let user = names[node.id.as_str()];
        for dependency in node.dependencies.iter().map(|id| names[id.as_str()]) {
            let ban = bans.deny.iter().find(|ban| ban.name == dependency);
            if let Some(ban) = ban.filter(|ban| ban.wrappers.iter().all(|w| w != user)) {
                let line = line_of(rules, &format!("crate = \"{dependency}\""));
                let wrong = format!("`{user}` depends on `{dependency}`: {}", ban.reason);
                findings.push(Finding::new(RULES, line, wrong, allowed_wrappers(ban)));
            }
        }
    }
    Ok(findings)
}

/// Returns the problem of a licence, or `None` if one of its alternatives is allowed.
fn licence_problem(license: Option<&str>, allowed: &[String]) -> Option<String> {
    let Some(license) = license else {
        return Some("names no licence".to_owned());
    };
    // Lax: old packages write `MIT/Apache-2.0`.
    let Ok(expression) = Expression::parse_mode(license, ParseMode::LAX) else {
        return Some(format!("has the unknown licence `{license}`"));
    };

    let is_allowed = expression.evaluate(|licence| allowed.contains(&licence.to_string()));
    (!is_allowed).then(|| format!("has the licence `{license}`"))
}

fn allowed_wrappers(ban: &Ban) -> String {
    match ban.wrappers.as_slice() {
        [] => "no crate that depends on it".to_owned(),
        wrappers => format!("dependents {}", wrappers.join(", ")),
    }
}

fn line_of(rules: &str, text: &str) -> usize {
    rules.lines().position(|line| line.contains(text)).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RULES: &str = r#"
[licenses]
allow = ["MIT", "Apache-2.0"]
[bans]
deny = [
  { crate = "axum", wrappers = ["gateway"], reason = "HTTP" },
]
"#;

    fn found(license: Option<&str>, user: &str) -> Vec<String> {
        let metadata = json!({
            "packages": [
                { "id": "1", "name": user, "license": "MIT" },
                { "id": "2", "name": "axum", "license": license },
            ],
            "resolve": { "nodes": [
                { "id": "1", "dependencies": ["2"] },
                { "id": "2", "dependencies": [] },
            ] },
        });
        let findings = findings(RULES, metadata).expect("the rules are complete");
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_package_needs_one_allowed_licence() {
        let allowed = ["MIT", "GPL-3.0-only OR MIT", "MPL-2.0/MIT", "MIT AND Apache-2.0"];
        let refused = ["MPL-2.0", "MIT AND MPL-2.0", "Apache-2.0 WITH LLVM-exception", "my own"];

        for license in allowed {
            assert_eq!(found(Some(license), "gateway"), [""; 0], "{license}");
        }
        for license in refused {
            assert_eq!(found(Some(license), "gateway").len(), 1, "{license}");
        }
        assert!(found(None, "gateway")[0].contains("deny.toml:2: `axum` names no licence"));
    }

    #[test]
    fn a_banned_crate_is_refused_outside_of_its_wrappers() {
        let found = found(Some("MIT"), "core");

        assert_eq!(
            found,
            ["deny.toml:6: `core` depends on `axum`: HTTP; allowed: dependents gateway"]
        );
    }
}
