//! A source file as the language rules see it: docs, comments, texts, functions, tests.

use crate::tree::Tree;

mod rust;
mod typescript;

/// The measured parts of a source file. All lines count from 1.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) lines: usize,
    /// The lines with documentation.
    pub(super) docs: Vec<Text>,
    /// The documentation blocks, each with its first line.
    pub(super) doc_blocks: Vec<DocBlock>,
    /// The lines that hold only a comment.
    pub(super) comments: Vec<Text>,
    pub(super) strings: Vec<Text>,
    pub(super) functions: Vec<Function>,
    pub(super) tests: Vec<Text>,
    /// The number of doc examples that are compiled.
    pub(super) examples: usize,
}

/// A piece of text with its line.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) line: usize,
    pub(super) text: String,
}

/// The documentation of one item.
#[derive(Debug)]
pub(super) struct DocBlock {
    pub(super) first: Text,
    pub(super) is_of_function: bool,
}

/// The extent of a function with a body of several lines.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) lines: usize,
    pub(super) blank: usize,
}

/// Returns path and survey of each Rust and TypeScript file, ordered by path.
pub(super) fn all(tree: &Tree) -> Vec<(&str, Survey)> {
    tree.texts().filter_map(|(path, text)| Some((path, of(path, text)?))).collect()
}

fn of(path: &str, text: &str) -> Option<Survey> {
    match path.rsplit_once('.')?.1 {
        "rs" => Some(rust::survey(text)),
        "ts" | "tsx" if !path.ends_with(".d.ts") => Some(typescript::survey(text)),
        _ => None,
    }
}

impl Function {
    /// Measures the lines from `first` to `last`, both from 1. `None` for a single line.
    fn measure(text: &[&str], first: usize, last: usize) -> Option<Self> {
        let body = text.get(first..last)?;
        let blank = body.iter().filter(|line| line.trim().is_empty()).count();
        (!body.is_empty()).then_some(Self { lines: body.len(), blank })
    }
}
