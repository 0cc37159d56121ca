//! The Autobahn Testsuite, installed once beside what cargo builds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;

use anyhow::{Context as _, bail};

use crate::process::Program;
use crate::say;

const VERSION: &str = "autobahntestsuite==25.10.1";
/// The suite asks for no version; the later ones do not build with Python 2.
const CONSTRAINT: &str = "wsaccel==0.6.2\n";
/// Tells a Python 2.7 from others, and whether it can install.
const PROBE: &str = "import sys, pip; print(sys.version_info[:2])";

/// The installed suite and the Python that runs it.
pub(super) struct Suite {
    python: PathBuf,
    packages: PathBuf,
}

impl Suite {
    /// Starts it on what a specification asks for.
    pub(super) fn start(&self, root: &Path, specification: &Path) -> anyhow::Result<Child> {
        let script = self.packages.join("bin/wstest");
        let (python, script) = (self.python.to_string_lossy(), script.to_string_lossy());
        let specification = specification.to_string_lossy();
        Program::new(root, &[&python, "-u", &script, "-m", "fuzzingclient", "-s", &specification])
            .with("PYTHONPATH", &self.packages)
            .start()
    }
}

/// Finds a Python 2.7 and installs the suite below `folder`, unless it is there.
pub(super) fn ensure(root: &Path, folder: &Path, python: Option<&Path>) -> anyhow::Result<Suite> {
    let python = find_python(root, python)?;
    let packages = folder.join("suite");
    let stamp = folder.join("installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == VERSION) {
        return Ok(Suite { python, packages });
    }
    say(format_args!("set-up: installing {VERSION} in {}", packages.display()));
    if packages.exists() {
        fs::remove_dir_all(&packages).context("cannot remove what was half installed")?;
    }
    fs::create_dir_all(folder)?;
    let constraint = folder.join("constraint.txt");
    fs::write(&constraint, CONSTRAINT)?;
    let (program, target) = (python.to_string_lossy(), packages.to_string_lossy());
    let constraint = constraint.to_string_lossy();
    let options = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    let what = ["--target", &target, "--constraint", &constraint, VERSION];
    Program::new(root, &[&[&*program], &options[..], &what[..]].concat()).run()?;
    // `pip --target` leaves out the file that makes a package of this folder.
    fs::write(packages.join("zope/__init__.py"), "")?;
    fs::write(stamp, VERSION)?;
    Ok(Suite { python, packages })
}

fn find_python(root: &Path, named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(python) = named {
        if is_python_2(root, python) {
            return Ok(python.to_owned());
        }
        bail!("{} is no Python 2.7 with pip", python.display());
    }
    let mut candidates = vec![PathBuf::from("python2.7"), PathBuf::from("python2")];
    candidates.extend(pyenv_versions());
    candidates.into_iter().find(|python| is_python_2(root, python)).context(
        "the Autobahn Testsuite needs Python 2.7 with pip, and there is none on the search path \
         or in pyenv; install one, for example with `pyenv install 2.7.18`, or name it with \
         `--python PATH`",
    )
}

fn is_python_2(root: &Path, python: &Path) -> bool {
    let output = Program::new(root, &[&*python.to_string_lossy(), "-c", PROBE]).output();
    output.is_ok_and(|version| version.trim() == "(2, 7)")
}

/// The Pythons that pyenv has installed, selected or not.
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
