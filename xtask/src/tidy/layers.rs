//! The crates that each crate may use: the code map of ARCHITECTURE.md as a table.

use super::Finding;
use crate::packages::{Dependency, Package};
use crate::tree::{Tree, is_below};

/// A crate of the workspace and the rules for its dependencies.
struct Layer {
    name: &'static str,
    /// The crates of the workspace that it may depend on.
    below: &'static [&'static str],
    /// The families of other crates that it must not depend on, except in tests.
    without: &'static [Family],
    /// Paths of the standard library or of tokio that its source must not contain.
    without_paths: &'static [&'static str],
}

/// Crates that belong to one subject.
struct Family {
    subject: &'static str,
    crates: &'static [&'static str],
}

const ASYNC: Family = Family {
    subject: "async runtimes",
    crates: &["tokio", "tokio-util", "tokio-stream", "futures", "futures-util", "async-trait"],
};
const HTTP: Family = Family {
    subject: "HTTP",
    crates: &["axum", "hyper", "hyper-util", "http", "http-body-util", "tower", "tower-http"],
};
const HTTP_SERVER: Family =
    Family { subject: "HTTP servers", crates: &["axum", "tower", "tower-http", "utoipa-axum"] };
const OS: Family = Family {
    subject: "the operating system",
    crates: &["rustix", "libc", "nix", "socket2", "mio"],
};
const ARGUMENTS: Family = Family { subject: "the command line", crates: &["clap"] };

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

const LAYERS: &[Layer] = &[
    Layer {
        name: "rejoin-protocol",
        below: &[],
        without: &[ASYNC, HTTP, OS, ARGUMENTS],
        without_paths: NO_OS,
    },
    Layer {
        name: "rejoin-websocket",
        below: &[],
        without: &[ASYNC, HTTP, OS, ARGUMENTS],
        without_paths: NO_OS,
    },
    Layer {
        name: "rejoin-screen",
        below: &[],
        without: &[ASYNC, HTTP, OS, ARGUMENTS],
        without_paths: NO_OS,
    },
    Layer {
        name: "rejoin-keeper",
        below: &[],
        without: &[ASYNC, HTTP, ARGUMENTS],
        without_paths: &[],
    },
    Layer {
        name: "rejoin-core",
        below: &["rejoin-protocol"],
        without: &[HTTP, OS, ARGUMENTS],
        without_paths: NO_OS_NO_TOKIO_OS,
    },
    Layer {
        name: "rejoin-http-client",
        below: &["rejoin-core"],
        without: &[HTTP_SERVER, ARGUMENTS],
        without_paths: &[],
    },
    Layer {
        name: "rejoin-auth",
        below: &["rejoin-core", "rejoin-http-client", "rejoin-protocol"],
        without: &[HTTP_SERVER, ARGUMENTS],
        without_paths: &[],
    },
    Layer {
        name: "rejoin-webhook",
        below: &["rejoin-core", "rejoin-http-client", "rejoin-protocol"],
        without: &[HTTP_SERVER, ARGUMENTS],
        without_paths: &[],
    },
    Layer {
        name: "rejoin-adapters",
        below: &["rejoin-core", "rejoin-keeper", "rejoin-protocol", "rejoin-screen"],
        without: &[HTTP, ARGUMENTS],
        without_paths: &[],
    },
    Layer {
        name: "rejoin-gateway",
        below: &[
            "rejoin-auth",
            "rejoin-core",
            "rejoin-http-client",
            "rejoin-protocol",
            "rejoin-webhook",
            "rejoin-websocket",
        ],
        without: &[ARGUMENTS],
        without_paths: &[],
    },
    Layer {
        name: "rejoin",
        below: &[
            "rejoin-adapters",
            "rejoin-auth",
            "rejoin-core",
            "rejoin-gateway",
            "rejoin-keeper",
            "rejoin-protocol",
            "rejoin-webhook",
            "rejoin-websocket",
        ],
        without: &[HTTP],
        without_paths: &[],
    },
    Layer {
        name: "rejoin-examples",
        below: &["rejoin-adapters", "rejoin-core", "rejoin-gateway", "rejoin-protocol"],
        without: &[HTTP],
        without_paths: &[],
    },
    Layer {
        name: "rejoin-bench",
        below: &["rejoin-keeper", "rejoin-protocol", "rejoin-websocket"],
        without: &[ASYNC, HTTP],
        without_paths: &[],
    },
    Layer {
        name: "xtask",
        below: &["rejoin-protocol"],
        without: &[ASYNC, HTTP],
        without_paths: &[],
    },
];

/// Crates that only one crate may depend on, even for tests.
const ONLY: &[(&str, &str)] = &[("axum", "rejoin-gateway")];

/// Checks the dependencies and paths of each package against its layer.
pub(super) fn check(packages: &[Package], tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        let manifest = package.manifest();
        let Some(layer) = LAYERS.iter().find(|l| l.name == package.name) else {
            findings.push(Finding::new(
                &manifest,
                1,
                format!("`{}` has no layer", package.name),
                "a crate with a row in the table of xtask/src/tidy/layers.rs",
            ));
            continue;
        };

        for dependency in &package.dependencies {
            if let Some((wrong, allowed)) = problem(layer, dependency) {
                let line = line_of(tree, &manifest, &dependency.name);
                findings.push(Finding::new(&manifest, line, wrong, allowed));
            }
        }
        findings.extend(paths(layer, package, tree));
    }
    findings
}

/// Returns what is wrong with a dependency, and the alternative.
fn problem(layer: &Layer, dependency: &Dependency) -> Option<(String, String)> {
    let (this, name) = (layer.name, dependency.name.as_str());
    if let Some((_, owner)) = ONLY.iter().find(|(only, owner)| *only == name && *owner != this) {
        // This rule comes first because it has no exception for tests.
        let wrong = format!("`{this}` depends on `{name}`");
        return Some((wrong, format!("`{name}` in `{owner}` only")));
    }
    // Tests may compare with other implementations.
    if dependency.is_dev {
        return None;
    }

    let ours = LAYERS.iter().any(|l| l.name == name);
    if ours && !layer.below.contains(&name) {
        let below = match layer.below {
            [] => "no crate of the workspace".to_owned(),
            names => names.join(", "),
        };
        return Some((format!("`{this}` depends on `{name}`"), below));
    }

    let family = layer.without.iter().find(|f| f.crates.contains(&name))?;
    Some((
        format!("`{this}` depends on `{name}`"),
        format!("no dependency on {}, except a dev-dependency", family.subject),
    ))
}

/// Returns the line of a dependency in its manifest, from 1.
fn line_of(tree: &Tree, manifest: &str, dependency: &str) -> usize {
    let starts = |line: &str| {
        line.strip_prefix(dependency).is_some_and(|rest| rest.starts_with([' ', '.', '=']))
    };
    let text = tree.text(manifest).unwrap_or_default();
    text.lines().position(starts).map_or(1, |index| index + 1)
}

/// Returns the uses of paths that the layer must not contain, outside of tests and comments.
fn paths(layer: &Layer, package: &Package, tree: &Tree) -> Vec<Finding> {
    let source = format!("{}/src", package.folder);
    let mut findings = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| is_below(path, &source)) {
        // By convention, unit tests are last in their file.
        let code = text.lines().take_while(|l| l.trim() != super::text::TESTS);
        for (index, line) in code.enumerate() {
            // A URL in a literal is cut too, which cannot hide a path of Rust.
            let code = line.split("//").next().unwrap_or_default();
            for banned in layer.without_paths.iter().filter(|b| code.contains(**b)) {
                findings.push(Finding::new(
                    path,
                    index + 1,
                    format!("`{}` uses `{banned}`", layer.name),
                    "a trait of rejoin-core that an outer crate implements",
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
            folder: format!("crates/{name}"),
            dependencies: dependencies
                .iter()
                .map(|&(name, is_dev)| Dependency { name: name.to_owned(), is_dev })
                .collect(),
        }
    }

    fn found(package: Package, files: &[(&str, &str)]) -> Vec<String> {
        check(&[package], &Tree::of(files)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_crate_without_a_layer_is_found() {
        let found = found(package("rejoin-extra", &[]), &[]);

        assert!(
            found[0].starts_with("crates/rejoin-extra/Cargo.toml:1: `rejoin-extra` has no layer")
        );
    }

    #[test]
    fn an_upward_dependency_is_found_with_its_line() {
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
    fn a_dependency_outside_of_its_layer_is_found() {
        for (crate_name, other) in [
            ("rejoin-protocol", "tokio"),
            ("rejoin-websocket", "tokio"),
            ("rejoin-core", "hyper"),
            ("rejoin-core", "rustix"),
            ("rejoin-gateway", "clap"),
            ("rejoin-auth", "axum"),
            ("rejoin", "hyper"),
        ] {
            assert_eq!(found(package(crate_name, &[(other, false)]), &[]).len(), 1, "{other}");
        }
    }

    #[test]
    fn tests_may_depend_on_other_implementations() {
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
