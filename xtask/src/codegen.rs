//! `cargo xtask codegen`: the files generated from the tables of rejoin-protocol.

use std::fs;

use anyhow::{Context as _, bail};
use rejoin_protocol::code::{CLOSE_CODES, ERROR_CODES};

use crate::print;
use crate::tree::Tree;

pub mod page;
mod typescript;

/// The file with the codes for the TypeScript client.
pub const TYPESCRIPT: &str = "client/src/codes.ts";

/// A generated file with its current content.
struct Output {
    path: &'static str,
    text: String,
}

/// Writes the generated files that are out of date.
///
/// # Errors
/// If the protocol page lacks the markers of the tables, or a file cannot be written.
pub fn write() -> anyhow::Result<()> {
    let root = crate::root();
    let tree = Tree::read(&root)?;

    for Output { path, text } in outputs(&tree)? {
        // An unchanged file keeps its time stamp, so that nothing is built again.
        if tree.text(path) == Some(text.as_str()) {
            print(format_args!("codegen: {path} unchanged"));
            continue;
        }
        fs::write(root.join(path), text).with_context(|| format!("cannot write {path}"))?;
        print(format_args!("codegen: {path} written"));
    }

    Ok(())
}

/// Checks that the generated files are up to date. Writes nothing.
///
/// # Errors
/// If a file is out of date. The message names its first line that differs.
pub fn check() -> anyhow::Result<()> {
    let tree = Tree::read(&crate::root())?;

    for Output { path, text } in outputs(&tree)? {
        let found = tree.text(path).unwrap_or_default();
        if found != text {
            let line = first_difference(found, &text);
            bail!("{path}:{line}: out of date; run `cargo xtask codegen`");
        }
    }

    print("codegen: all files are up to date");
    Ok(())
}

/// Returns the generated files. Without a protocol page, `tidy` reports that it is missing.
fn outputs(tree: &Tree) -> anyhow::Result<Vec<Output>> {
    let typescript = typescript::render(CLOSE_CODES, ERROR_CODES);

    let mut outputs = vec![Output { path: TYPESCRIPT, text: typescript }];
    if let Some(old) = tree.text(page::PATH) {
        let tables = page::tables(CLOSE_CODES, ERROR_CODES);
        let text = page::refresh(old, &tables, &page::source_fingerprint(tree))?;
        outputs.push(Output { path: page::PATH, text });
    }

    Ok(outputs)
}

/// Returns the first line that differs, from 1.
fn first_difference(found: &str, expected: &str) -> usize {
    1 + found.lines().zip(expected.lines()).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_different_line_is_returned() {
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), 2);
        assert_eq!(first_difference("", "a\n"), 1);
        assert_eq!(first_difference("a\n", "a\nb\n"), 2);
    }
}
