//! The files of the repository, read once for all checks.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use crate::fingerprint::Fingerprint;

/// Names of folders with build output or packages of others, at any depth.
const SKIPPED: [&str; 6] = [".git", "target", "node_modules", "dist", "test-results", "artifacts"];

/// A file of the repository.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// The path from the root, with `/` as the separator.
    pub(crate) path: String,
    bytes: Vec<u8>,
}

impl File {
    /// Returns the content if it is UTF-8.
    pub(crate) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }
}

/// All files below a folder, ordered by path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    files: Vec<File>,
}

impl Tree {
    /// Reads the repository.
    ///
    /// # Errors
    /// If a folder or a file cannot be read.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        visit(root, "", &mut files)?;
        Ok(Self::sorted(files))
    }

    /// Makes a tree from paths and texts.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let file =
            |&(path, text): &(&str, &str)| File { path: path.to_owned(), bytes: text.into() };
        Self::sorted(files.iter().map(file).collect())
    }

    fn sorted(mut files: Vec<File>) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self { files }
    }

    /// Returns the files, ordered by path.
    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter()
    }

    /// Returns path and text of each file that is UTF-8, ordered by path.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter_map(|f| Some((f.path.as_str(), f.text()?)))
    }

    /// Returns the text of the file at `path`.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        let at = self.files.binary_search_by(|f| f.path.as_str().cmp(path)).ok()?;
        self.files[at].text()
    }

    /// Returns whether `path` is a file or a folder of the tree.
    pub(crate) fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        path.is_empty() || self.files.iter().any(|f| is_below(&f.path, path))
    }

    /// Returns the fingerprint of all files at or below the given paths.
    pub(crate) fn fingerprint(&self, paths: &[&str]) -> String {
        let mut fingerprint = Fingerprint::default();
        for File { path, bytes } in &self.files {
            if paths.iter().any(|p| is_below(path, p)) {
                fingerprint.add(path, bytes);
            }
        }
        fingerprint.hex()
    }
}

/// Returns whether `path` is `folder` or inside it.
pub(crate) fn is_below(path: &str, folder: &str) -> bool {
    // `crates/rejoin` is not above `crates/rejoin-core`.
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn visit(root: &Path, folder: &str, files: &mut Vec<File>) -> anyhow::Result<()> {
    let absolute = root.join(folder);
    let entries = fs::read_dir(&absolute)
        .with_context(|| format!("cannot read the folder {}", absolute.display()))?;

    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if SKIPPED.contains(&name.as_str()) {
            continue;
        }

        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        // Symbolic links are skipped: they could lead out of the repository or form a cycle.
        let kind = entry.file_type()?;
        if kind.is_dir() {
            visit(root, &path, files)?;
        } else if kind.is_file() {
            let bytes = fs::read(entry.path())
                .with_context(|| format!("cannot read {}", entry.path().display()))?;
            files.push(File { path, bytes });
        }
    }

    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_exists_if_it_contains_a_file() {
        let tree = Tree::of(&[("docs/a.md", ""), ("docs/b.md", "x")]);

        assert!(tree.has("docs") && tree.has("docs/") && tree.has("docs/a.md"));
        assert!(!tree.has("doc") && !tree.has("docs/c.md"));
        assert_eq!(tree.text("docs/b.md"), Some("x"));
    }

    #[test]
    fn the_fingerprint_covers_only_the_given_folders() {
        let tree = Tree::of(&[("a/x", "1"), ("ab/x", "2")]);

        assert_eq!(tree.fingerprint(&["a"]), Tree::of(&[("a/x", "1")]).fingerprint(&["a"]));
        assert_ne!(tree.fingerprint(&["a"]), tree.fingerprint(&["a", "ab"]));
    }
}
