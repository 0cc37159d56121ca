//! The packages of the workspace, as cargo describes them.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;
use xshell::{Shell, cmd};

/// A package of the workspace.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// The package's folder, relative to the root, such as `crates/rejoin-core`.
    pub(crate) folder: String,
    pub(crate) dependencies: Vec<Dependency>,
}

impl Package {
    /// Returns the path of the manifest, relative to the root.
    pub(crate) fn manifest(&self) -> String {
        format!("{}/Cargo.toml", self.folder)
    }
}

/// A direct dependency of a package.
#[derive(Clone, Debug)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) is_dev: bool,
}

/// Lists the packages of the workspace.
pub(crate) fn list(sh: &Shell) -> anyhow::Result<Vec<Package>> {
    let metadata = metadata(sh)?;
    let packages = metadata["packages"].as_array().context("cargo lists no packages")?;
    packages.iter().map(|package| read_package(package, &sh.current_dir())).collect()
}

/// Returns the folder that cargo builds into; the environment may have moved it.
pub(crate) fn target_folder(sh: &Shell) -> anyhow::Result<PathBuf> {
    let metadata = metadata(sh)?;
    let folder = metadata["target_directory"].as_str().context("cargo names no target folder")?;
    Ok(PathBuf::from(folder))
}

/// Builds all binaries and tests. Returns the target folder.
///
/// Tests take their binaries from this build. `cargo build -p rejoin` would select fewer features
/// than `cargo test --workspace`, without those of dev-dependencies, and compile tokio and its
/// dependents a second time.
pub(crate) fn build_for_tests(sh: &Shell) -> anyhow::Result<PathBuf> {
    cmd!(sh, "cargo build --quiet --workspace --all-targets").run()?;
    target_folder(sh)
}

/// Builds the server and the benchmarks with optimizations, then runs the benchmarks.
pub(crate) fn run_bench<'a>(
    sh: &Shell,
    arguments: impl IntoIterator<Item = &'a str>,
) -> anyhow::Result<()> {
    // The benchmarks start the server's binary, which `cargo run` alone would not build.
    cmd!(sh, "cargo build --release -p rejoin -p rejoin-bench").run()?;
    cmd!(sh, "cargo run --quiet --release -p rejoin-bench -- {arguments...}").run()?;
    Ok(())
}

fn metadata(sh: &Shell) -> anyhow::Result<Value> {
    // Offline and without dependencies: the answer is immediate and needs no network.
    let json = cmd!(sh, "cargo metadata --no-deps --offline --format-version 1").quiet().read()?;
    Ok(serde_json::from_str(&json)?)
}

fn read_package(package: &Value, root: &Path) -> anyhow::Result<Package> {
    let name = package["name"].as_str().context("a package has no name")?;
    let manifest = package["manifest_path"].as_str().context("a package has no manifest")?;
    let folder = Path::new(manifest).parent().unwrap_or(root);
    let dependencies = package["dependencies"].as_array().into_iter().flatten();

    Ok(Package {
        name: name.to_owned(),
        folder: folder.strip_prefix(root).unwrap_or(folder).display().to_string(),
        dependencies: dependencies
            .map(|dependency| Dependency {
                name: dependency["name"].as_str().unwrap_or_default().to_owned(),
                is_dev: dependency["kind"] == "dev",
            })
            .collect(),
    })
}
