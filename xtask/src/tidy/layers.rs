//! Which crate may name which: the picture in ARCHITECTURE.md, as a table.

use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

use super::Finding;
use crate::process::Program;
use crate::tree::Tree;

/// One crate of ours and what it may know.
struct Layer {
    name: &'static str,
    /// Crates of ours that it may name.
    below: &'static [&'static str],
    /// Families of foreign crates that it must not name outside its tests.
    without: &'static [Family],
    /// Paths of the standard library or of tokio that its source must not name.
    without_paths: &'static [&'static str],
}

/// Foreign crates that are one thing to know about.
struct Family {
    what: &'static str,
    crates: &'static [&'static str],
}

const ASYNC: Family = Family {
    what: "an async runtime",
    crates: &["tokio", "tokio-util", "tokio-stream", "futures", "futures-util", "async-trait"],
};
const HTTP: Family = Family {
    what: "HTTP",
    crates: &["axum", "hyper", "hyper-util", "http", "http-body-util", "tower", "tower-http"],
};
const HTTP_SERVER: Family =
    Family { what: "an HTTP server", crates: &["axum", "tower", "tower-http", "utoipa"] };
const SQL: Family = Family { what: "SQL", crates: &["sqlx", "rusqlite", "tokio-postgres"] };
const REDIS: Family = Family { what: "Redis", crates: &["redis"] };
const OS: Family =
    Family { what: "the operating system", crates: &["rustix", "libc", "nix", "socket2", "mio"] };
const ARGUMENTS: Family = Family { what: "the command line", crates: &["clap"] };

const NO_OS: &[&str] =
    &["std::fs", "std::process", "std::os", "std::net::Tcp", "std::net::Udp", "std::io::stdin"];
const NO_OS_NO_TOKIO_OS: &[&str] = &[
    "std::fs",
    "std::process",
    "std::os",
    "std::net::Tcp",
    "std::net::Udp",
    "std::io::stdin",
    "tokio::fs",
    "tokio::net",
    "tokio::process",
    "tokio::signal",
];

const NO_SOCKETS: &[&str] =
    &["std::net::Tcp", "std::net::Udp", "std::process", "tokio::net", "tokio::process"];

const LAYERS: &[Layer] = &[
    Layer {
        name: "rejoin-protocol",
        below: &[],
        without: &[ASYNC, HTTP, SQL, REDIS, OS, ARGUMENTS],
        without_paths: NO_OS,
    },
    Layer {
        name: "rejoin-websocket",
        below: &[],
        without: &[ASYNC, HTTP, SQL, REDIS, OS, ARGUMENTS],
        without_paths: NO_OS,
    },
    Layer {
        name: "rejoin-screen",
        below: &[],
        without: &[ASYNC, HTTP, SQL, REDIS, OS, ARGUMENTS],
        without_paths: NO_OS,
    },
    Layer {
        name: "rejoin-keeper",
        below: &[],
        without: &[ASYNC, HTTP, SQL, REDIS, ARGUMENTS],
        without_paths: &[],
    },
    Layer {
        name: "rejoin-core",
        below: &["rejoin-protocol"],
        without: &[HTTP, SQL, REDIS, OS, ARGUMENTS],
        without_paths: NO_OS_NO_TOKIO_OS,
    },
    Layer {
        name: "rejoin-adapters",
        below: &["rejoin-core", "rejoin-keeper", "rejoin-protocol", "rejoin-screen"],
        without: &[HTTP, ARGUMENTS],
        without_paths: &[],
    },
    Layer {
        name: "rejoin-http-client",
        below: &["rejoin-core"],
        without: &[HTTP_SERVER, SQL, REDIS, OS, ARGUMENTS],
        without_paths: NO_SOCKETS,
    },
    Layer {
        name: "rejoin-auth",
        below: &["rejoin-core", "rejoin-http-client", "rejoin-protocol"],
        without: &[HTTP, SQL, REDIS, OS, ARGUMENTS],
        without_paths: NO_SOCKETS,
    },
    Layer {
        name: "rejoin-webhook",
        below: &["rejoin-core", "rejoin-http-client", "rejoin-protocol"],
        without: &[HTTP, SQL, REDIS, OS, ARGUMENTS],
        without_paths: NO_SOCKETS,
    },
    Layer {
        name: "rejoin-gateway",
        below: &[
            "rejoin-auth",
            "rejoin-core",
            "rejoin-protocol",
            "rejoin-webhook",
            "rejoin-websocket",
        ],
        without: &[SQL, REDIS, ARGUMENTS],
        without_paths: &[],
    },
    Layer {
        name: "rejoin",
        below: &[
            "rejoin-adapters",
            "rejoin-core",
            "rejoin-gateway",
            "rejoin-keeper",
            "rejoin-protocol",
            "rejoin-websocket",
        ],
        without: &[HTTP, SQL, REDIS],
        without_paths: &[],
    },
    Layer {
        name: "rejoin-examples",
        below: &["rejoin-adapters", "rejoin-core", "rejoin-gateway", "rejoin-protocol"],
        without: &[HTTP, SQL, REDIS],
        without_paths: &[],
    },
    Layer {
        name: "rejoin-bench",
        below: &["rejoin-protocol", "rejoin-websocket"],
        without: &[ASYNC, HTTP, SQL, REDIS],
        without_paths: &[],
    },
    Layer {
        name: "xtask",
        below: &["rejoin-protocol"],
        without: &[ASYNC, HTTP, SQL, REDIS],
        without_paths: &[],
    },
];

/// What one crate may name and no other, its tests included.
const ONLY: &[(&str, &str)] =
    &[("axum", "rejoin-gateway"), ("sqlx", "rejoin-adapters"), ("redis", "rejoin-adapters")];

/// A crate of the workspace as cargo describes it.
#[derive(Debug)]
pub(super) struct Package {
    name: String,
    /// From the root.
    manifest: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug)]
struct Dependency {
    name: String,
    for_tests: bool,
}

/// The crates of the workspace.
pub(super) fn packages(root: &Path) -> anyhow::Result<Vec<Package>> {
    let line = ["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1"];
    let metadata: Value = serde_json::from_str(&Program::new(root, &line).output()?)?;
    let packages = metadata["packages"].as_array().context("cargo names no packages")?;
    packages
        .iter()
        .map(|package| {
            let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
            let dependencies = package["dependencies"].as_array().into_iter().flatten();
            Ok(Package {
                name: package["name"].as_str().context("a package without a name")?.to_owned(),
                manifest: manifest.strip_prefix(root).unwrap_or(manifest).display().to_string(),
                dependencies: dependencies
                    .map(|d| Dependency {
                        name: d["name"].as_str().unwrap_or_default().to_owned(),
                        for_tests: d["kind"] == "dev",
                    })
                    .collect(),
            })
        })
        .collect()
}

/// Each crate names only what its layer may know.
pub(super) fn check(packages: &[Package], tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        let Some(layer) = LAYERS.iter().find(|l| l.name == package.name) else {
            findings.push(Finding::new(
                &package.manifest,
                1,
                format!("`{}` has no layer", package.name),
                "a crate with a row in the table of xtask/src/tidy/layers.rs",
            ));
            continue;
        };
        for dependency in &package.dependencies {
            if let Some((wrong, allowed)) = judge(layer, dependency) {
                let line = line_of(tree, &package.manifest, &dependency.name);
                findings.push(Finding::new(&package.manifest, line, wrong, allowed));
            }
        }
        findings.extend(paths(layer, &package.manifest, tree));
    }
    findings
}

fn judge(layer: &Layer, dependency: &Dependency) -> Option<(String, String)> {
    let (this, name) = (layer.name, dependency.name.as_str());
    if let Some((_, owner)) = ONLY.iter().find(|(only, owner)| *only == name && *owner != this) {
        return Some((format!("`{this}` names `{name}`"), format!("`{name}` in `{owner}` only")));
    }
    if dependency.for_tests {
        return None;
    }
    let ours = LAYERS.iter().any(|l| l.name == name);
    if ours && !layer.below.contains(&name) {
        let below = match layer.below {
            [] => "no crate of ours".to_owned(),
            names => names.join(", "),
        };
        return Some((format!("`{this}` depends on `{name}`"), below));
    }
    let family = layer.without.iter().find(|f| f.crates.contains(&name))?;
    Some((
        format!("`{this}` names `{name}`"),
        format!("a crate that knows nothing of {}; for tests, a dev-dependency", family.what),
    ))
}

/// The line of a dependency in its manifest.
fn line_of(tree: &Tree, manifest: &str, dependency: &str) -> usize {
    let starts = |line: &str| {
        line.strip_prefix(dependency).is_some_and(|rest| rest.starts_with([' ', '.', '=']))
    };
    let text = tree.text(manifest).unwrap_or_default();
    text.lines().position(starts).map_or(1, |index| index + 1)
}

fn paths(layer: &Layer, manifest: &str, tree: &Tree) -> Vec<Finding> {
    let source = manifest.replace("Cargo.toml", "src/");
    let mut findings = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| path.starts_with(&source)) {
        let code = text.lines().take_while(|l| l.trim() != super::text::TESTS);
        for (index, line) in code.enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for banned in layer.without_paths.iter().filter(|b| code.contains(**b)) {
                findings.push(Finding::new(
                    path,
                    index + 1,
                    format!("`{}` names `{banned}`", layer.name),
                    "what is outside comes in through a trait of rejoin-core",
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[(&str, bool)]) -> Package {
        Package {
            name: name.to_owned(),
            manifest: format!("crates/{name}/Cargo.toml"),
            dependencies: dependencies
                .iter()
                .map(|&(name, for_tests)| Dependency { name: name.to_owned(), for_tests })
                .collect(),
        }
    }

    fn found(package: Package, files: &[(&str, &str)]) -> Vec<String> {
        check(&[package], &Tree::of(files)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_crate_without_a_row_is_found() {
        let found = found(package("rejoin-extra", &[]), &[]);
        assert!(
            found[0].starts_with("crates/rejoin-extra/Cargo.toml:1: `rejoin-extra` has no layer")
        );
    }

    #[test]
    fn a_dependency_upwards_is_found_with_its_line() {
        let manifest = "[dependencies]\nrejoin-gateway.workspace = true\n";
        let found = found(
            package("rejoin-core", &[("rejoin-gateway", false)]),
            &[("crates/rejoin-core/Cargo.toml", manifest)],
        );
        assert_eq!(
            found,
            [
                "crates/rejoin-core/Cargo.toml:2: `rejoin-core` depends on `rejoin-gateway`; allowed: rejoin-protocol"
            ]
        );
    }

    #[test]
    fn a_foreign_crate_of_the_wrong_layer_is_found() {
        for (crate_name, foreign) in [
            ("rejoin-protocol", "tokio"),
            ("rejoin-websocket", "tokio"),
            ("rejoin-core", "hyper"),
            ("rejoin-core", "rustix"),
            ("rejoin-gateway", "clap"),
            ("rejoin", "sqlx"),
        ] {
            assert_eq!(found(package(crate_name, &[(foreign, false)]), &[]).len(), 1, "{foreign}");
        }
    }

    #[test]
    fn tests_may_name_an_oracle_but_not_what_one_crate_keeps_to_itself() {
        assert!(found(package("rejoin-websocket", &[("tokio", true)]), &[]).is_empty());
        assert_eq!(found(package("rejoin-core", &[("axum", true)]), &[]).len(), 1);
    }

    #[test]
    fn a_file_opened_by_the_core_is_found() {
        let source = "//! X.\n// std::fs is fine here\nuse std::fs;\n#[cfg(test)]\nuse std::fs;\n";
        let found =
            found(package("rejoin-core", &[]), &[("crates/rejoin-core/src/lib.rs", source)]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("crates/rejoin-core/src/lib.rs:3: "));
    }
}
