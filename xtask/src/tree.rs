//! The files of the repository, read once for all checks.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use crate::fingerprint::Fingerprint;

/// Folders of built or foreign things, wherever they are.
const SKIPPED: [&str; 6] = [".git", "target", "node_modules", "dist", "test-results", "artifacts"];

/// One file.
#[derive(Clone, Debug)]
pub struct File {
    /// From the root, with `/`.
    pub path: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

impl File {
    /// The content, if it is UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }
}

/// All files below a folder, ordered by path.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    files: Vec<File>,
}

impl Tree {
    /// Reads the repository.
    ///
    /// # Errors
    /// When a folder or a file cannot be read.
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        visit(root, "", &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { files })
    }

    /// A tree out of paths and texts.
    #[must_use]
    pub fn of(files: &[(&str, &str)]) -> Self {
        let mut files: Vec<File> = files
            .iter()
            .map(|&(path, text)| File { path: path.to_owned(), bytes: text.into() })
            .collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self { files }
    }

    /// The files, ordered by path.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter()
    }

    /// The files that are text, as path and text.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter_map(|f| Some((f.path.as_str(), f.text()?)))
    }

    /// The text of one file.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        let at = self.files.binary_search_by(|f| f.path.as_str().cmp(path)).ok()?;
        self.files[at].text()
    }

    /// Whether a file or a folder has this path.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        path.is_empty()
            || self.files.iter().any(|f| {
                f.path
                    .strip_prefix(path)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
    }

    /// The fingerprint of what is below these folders or files.
    #[must_use]
    pub fn fingerprint(&self, below: &[&str]) -> String {
        let mut print = Fingerprint::default();
        for File { path, bytes } in &self.files {
            if below.iter().any(|b| path == b || path.starts_with(&format!("{b}/"))) {
                print.add(path, bytes);
            }
        }
        print.hex()
    }
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
    fn a_folder_is_there_when_a_file_in_it_is() {
        let tree = Tree::of(&[("docs/a.md", ""), ("docs/b.md", "x")]);
        assert!(tree.has("docs") && tree.has("docs/") && tree.has("docs/a.md"));
        assert!(!tree.has("doc") && !tree.has("docs/c.md"));
        assert_eq!(tree.text("docs/b.md"), Some("x"));
    }

    #[test]
    fn the_fingerprint_covers_what_is_below_and_nothing_else() {
        let tree = Tree::of(&[("a/x", "1"), ("ab/x", "2")]);
        assert_eq!(tree.fingerprint(&["a"]), Tree::of(&[("a/x", "1")]).fingerprint(&["a"]));
        assert_ne!(tree.fingerprint(&["a"]), tree.fingerprint(&["a", "ab"]));
    }
}
