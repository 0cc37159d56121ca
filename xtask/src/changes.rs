//! The files that differ from the main branch, and the packages that they affect.

use anyhow::Context as _;
use xshell::{Shell, cmd};

use crate::packages::{self, Package};
use crate::tree::is_below;

/// Files that affect every package.
const GLOBAL: [&str; 5] = [".cargo", "Cargo.lock", "Cargo.toml", "clippy.toml", "rustfmt.toml"];
/// Folders outside of a package that affect it: the binary embeds the built pages.
const EMBEDDED: [(&str, &str); 2] = [("client", "rejoin"), ("web", "rejoin")];

/// The changed files and the affected packages.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    paths: Vec<String>,
    packages: Vec<String>,
}

impl Changes {
    /// Compares the working tree, with untracked files, to the point where it left `main`.
    ///
    /// Without a branch `main`, and on it, compares to `HEAD`.
    pub(crate) fn read(sh: &Shell) -> anyhow::Result<Self> {
        let main = ["main", "origin/main"].into_iter().find_map(|branch| {
            cmd!(sh, "git merge-base HEAD {branch}").quiet().ignore_stderr().read().ok()
        });
        // The merge base, not `main` itself: changes of others on `main` are not ours to test.
        let base = main.unwrap_or_else(|| "HEAD".to_owned());
        // `--no-renames` lists the old path as well, which may be in another package.
        let changed = cmd!(sh, "git diff --name-only --no-renames {base}").quiet().read();
        let changed = changed.context("`--changed` needs a git repository")?;
        let untracked = cmd!(sh, "git ls-files --others --exclude-standard").quiet().read()?;

        let paths = changed.lines().chain(untracked.lines()).map(str::to_owned).collect();
        Ok(Self::new(paths, &packages::list(sh)?))
    }

    fn new(paths: Vec<String>, packages: &[Package]) -> Self {
        let touched = |folder: &str| paths.iter().any(|path| is_below(path, folder));
        let global = GLOBAL.into_iter().any(touched);
        let mut affected: Vec<String> = packages
            .iter()
            .filter(|package| {
                let embeds =
                    |(folder, name): &(&str, &str)| *name == package.name && touched(folder);
                global || touched(&package.folder) || EMBEDDED.iter().any(embeds)
            })
            .map(|package| package.name.clone())
            .collect();

        // Each round adds direct dependents; the graph is small and has no cycles.
        loop {
            let dependents: Vec<String> = packages
                .iter()
                .filter(|package| !affected.contains(&package.name))
                .filter(|package| package.dependencies.iter().any(|d| affected.contains(&d.name)))
                .map(|package| package.name.clone())
                .collect();
            if dependents.is_empty() {
                return Self { paths, packages: affected };
            }
            affected.extend(dependents);
        }
    }

    /// Returns whether a changed file is at or below one of `folders`.
    pub(crate) fn touch(&self, folders: &[&str]) -> bool {
        self.paths.iter().any(|path| folders.iter().any(|folder| is_below(path, folder)))
    }

    /// Returns whether the package or one of its dependencies changed.
    pub(crate) fn affect(&self, package: &str) -> bool {
        self.packages.iter().any(|name| name == package)
    }

    /// Returns whether any package is affected.
    pub(crate) fn affect_rust(&self) -> bool {
        !self.packages.is_empty()
    }

    /// Returns the arguments that select the affected packages for cargo.
    pub(crate) fn package_arguments(&self) -> Vec<String> {
        self.packages.iter().flat_map(|name| ["--package".to_owned(), name.clone()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::Dependency;

    fn affected(path: &str) -> Vec<String> {
        let package = |name: &str, dependency: &str| Package {
            name: name.to_owned(),
            folder: format!("crates/{name}"),
            dependencies: vec![Dependency { name: dependency.to_owned(), is_dev: false }],
        };
        let packages = [
            package("rejoin", "rejoin-core"),
            package("rejoin-core", "rejoin-protocol"),
            package("rejoin-protocol", "serde"),
        ];
        Changes::new(vec![path.to_owned()], &packages).packages
    }

    #[test]
    fn a_change_affects_its_package_and_all_dependents() {
        let all = ["rejoin-protocol", "rejoin-core", "rejoin"];

        assert_eq!(affected("crates/rejoin-protocol/src/lib.rs"), all);
        assert_eq!(affected("crates/rejoin-core/Cargo.toml"), ["rejoin-core", "rejoin"]);
        assert_eq!(affected("Cargo.lock").len(), 3);
    }

    #[test]
    fn a_change_to_the_pages_affects_the_binary_only() {
        assert_eq!(affected("web/src/app.tsx"), ["rejoin"]);
        assert_eq!(affected("docs/design.md"), [""; 0]);
    }
}
