//! `cargo xtask codegen`: what is written from the tables of rejoin-protocol.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use rejoin_protocol::code::{CLOSE_CODES, ERROR_CODES};

use crate::say;
use crate::tree::Tree;

pub mod page;
mod typescript;

/// The codes for the TypeScript client.
pub const TYPESCRIPT: &str = "client/src/codes.ts";

/// One file, as it should be.
struct Output {
    path: &'static str,
    text: String,
}

/// Writes the files that differ.
///
/// # Errors
/// When the page has no place for the tables, or a file cannot be written.
pub fn write(root: &Path) -> anyhow::Result<()> {
    let tree = Tree::read(root)?;
    for Output { path, text } in outputs(&tree)? {
        if tree.text(path) == Some(text.as_str()) {
            say(format_args!("codegen: {path} unchanged"));
            continue;
        }
        fs::write(root.join(path), text).with_context(|| format!("cannot write {path}"))?;
        say(format_args!("codegen: {path} written"));
    }
    Ok(())
}

/// Changes nothing.
///
/// # Errors
/// When a file is not what it should be; names it and the first line that differs.
pub fn check(root: &Path) -> anyhow::Result<()> {
    let tree = Tree::read(root)?;
    for Output { path, text } in outputs(&tree)? {
        let found = tree.text(path).unwrap_or_default();
        if found != text {
            let line = first_difference(found, &text);
            bail!("{path}:{line}: not what the tables say; run `cargo xtask codegen`");
        }
    }
    say("codegen: nothing to write");
    Ok(())
}

/// Without the page there is nothing to refresh; `tidy` says that it is missing.
fn outputs(tree: &Tree) -> anyhow::Result<Vec<Output>> {
    let typescript = typescript::render(CLOSE_CODES, ERROR_CODES);
    let mut outputs = vec![Output { path: TYPESCRIPT, text: typescript }];
    if let Some(old) = tree.text(page::PATH) {
        let tables = page::tables(CLOSE_CODES, ERROR_CODES);
        let text = page::refresh(old, &tables, &page::source(tree))?;
        outputs.push(Output { path: page::PATH, text });
    }
    Ok(outputs)
}

fn first_difference(found: &str, wanted: &str) -> usize {
    1 + found.lines().zip(wanted.lines()).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_differs_is_named() {
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), 2);
        assert_eq!(first_difference("", "a\n"), 1);
        assert_eq!(first_difference("a\n", "a\nb\n"), 2);
    }
}
