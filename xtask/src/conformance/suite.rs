//! The Autobahn Testsuite, installed once in cargo's target folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use xshell::{Shell, cmd};

use crate::child::ChildGuard;
use crate::print;

const VERSION: &str = "autobahntestsuite==25.10.1";
/// The suite accepts any version of wsaccel; later ones do not build with Python 2.
const CONSTRAINT: &str = "wsaccel==0.6.2\n";
/// Prints the version; fails without pip.
const PROBE: &str = "import sys, pip; print(sys.version_info[:2])";

/// The installed suite and the Python that runs it.
pub(super) struct Suite {
    python: PathBuf,
    packages: PathBuf,
}

impl Suite {
    /// Starts the cases of a specification.
    pub(super) fn start(&self, sh: &Shell, specification: &Path) -> anyhow::Result<ChildGuard> {
        let (python, script) = (&self.python, self.packages.join("bin/wstest"));
        // `-u`: without it Python buffers the progress lines until the end.
        let client = cmd!(sh, "{python} -u {script} -m fuzzingclient -s {specification}");
        ChildGuard::start(client.env("PYTHONPATH", &self.packages))
    }
}

/// Finds a Python 2.7 and installs the suite below `folder` if it is missing.
pub(super) fn ensure(sh: &Shell, folder: &Path, python: Option<&Path>) -> anyhow::Result<Suite> {
    let python = find_python(sh, python)?;
    let packages = folder.join("suite");
    let stamp = folder.join("installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == VERSION) {
        return Ok(Suite { python, packages });
    }

    print(format_args!("set-up: installing {VERSION} in {}", packages.display()));
    if packages.exists() {
        fs::remove_dir_all(&packages).context("cannot remove an incomplete installation")?;
    }
    fs::create_dir_all(folder)?;
    let constraint = folder.join("constraint.txt");
    fs::write(&constraint, CONSTRAINT)?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    cmd!(sh, "{python} {install...} --target {packages} --constraint {constraint} {VERSION}")
        .run()?;
    // `pip --target` omits this file, and Python 2 needs it to import the package.
    fs::write(packages.join("zope/__init__.py"), "")?;

    // Last, so that an interrupted installation is repeated.
    fs::write(stamp, VERSION)?;
    Ok(Suite { python, packages })
}

fn find_python(sh: &Shell, named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(python) = named {
        if is_python_2(sh, python) {
            return Ok(python.to_owned());
        }
        bail!("{} is not a Python 2.7 with pip", python.display());
    }

    let mut candidates = vec![PathBuf::from("python2.7"), PathBuf::from("python2")];
    candidates.extend(pyenv_versions());
    candidates.into_iter().find(|python| is_python_2(sh, python)).context(
        "the Autobahn Testsuite needs Python 2.7 with pip, which is neither on the search path \
         nor in pyenv; install it, for example with `pyenv install 2.7.18`, or name it with \
         `--python PATH`",
    )
}

fn is_python_2(sh: &Shell, python: &Path) -> bool {
    let version = cmd!(sh, "{python} -c {PROBE}").quiet().ignore_stderr().read();
    version.is_ok_and(|version| version == "(2, 7)")
}

/// Lists the Pythons 2.7 that pyenv has installed, selected or not.
fn pyenv_versions() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".pyenv"));
    let Some(pyenv) = std::env::var_os("PYENV_ROOT").map(PathBuf::from).or(home) else {
        return Vec::new();
    };

    let versions = fs::read_dir(pyenv.join("versions")).into_iter().flatten().flatten();
    versions
        .filter(|version| version.file_name().to_string_lossy().starts_with("2.7"))
        .map(|version| version.path().join("bin/python"))
        .collect()
}
