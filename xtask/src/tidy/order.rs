//! One order of imports and of derives.
//!
//! rustfmt orders the imports of a group; grouping them needs its nightly options.

use std::cmp::Ordering;

use syn::visit::{self, Visit};
use syn::{Attribute, File, Item, ItemUse, UseTree, Visibility};

use super::Finding;
use crate::tree::Tree;

/// The derives of the standard library, in order. Others follow them.
const DERIVES: [&str; 9] =
    ["Clone", "Copy", "Debug", "Default", "PartialEq", "Eq", "PartialOrd", "Ord", "Hash"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| path.ends_with(".rs")) {
        if let Ok(file) = syn::parse_file(text) {
            findings.extend(imports(path, text, &file));
            let mut derives = Derives { path, findings: Vec::new() };
            derives.visit_file(&file);
            findings.extend(derives.findings);
        }
    }
    findings
}

/// The group of an import. Groups follow each other in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Standard,
    External,
    Crate,
}

/// Returns the first import that is out of place, per file.
fn imports(path: &str, text: &str, file: &File) -> Option<Finding> {
    let lines: Vec<&str> = text.lines().collect();
    let children: Vec<String> = file
        .items
        .iter()
        .filter_map(|item| if let Item::Mod(m) = item { Some(m.ident.to_string()) } else { None })
        .collect();
    // The group of the last import and its last line, from 1.
    let mut last: Option<(Group, usize)> = None;

    for item in &file.items {
        // Re-exports are grouped by meaning.
        let Item::Use(item @ ItemUse { vis: Visibility::Inherited, .. }) = item else { continue };
        let line = item.use_token.span.start().line;
        let group = group(item, &children);
        if let Some((before, end)) = last {
            // A comment above an import does not separate it from the one before.
            let is_separate = lines[end..line - 1].iter().any(|line| line.trim().is_empty());
            let is_misplaced = match group.cmp(&before) {
                Ordering::Less => true,
                // Imports from child modules may stand apart, next to their `mod` lines.
                Ordering::Equal => is_separate && group != Group::Crate,
                Ordering::Greater => !is_separate,
            };
            if is_misplaced {
                return Some(Finding::new(
                    path,
                    line,
                    "an import out of order",
                    "the standard library, other crates, this crate; a blank line between groups",
                ));
            }
        }
        last = Some((group, item.semi_token.span.start().line));
    }
    None
}

fn group(item: &ItemUse, children: &[String]) -> Group {
    let first = match &item.tree {
        UseTree::Path(path) => path.ident.to_string(),
        UseTree::Name(name) => name.ident.to_string(),
        UseTree::Rename(rename) => rename.ident.to_string(),
        UseTree::Glob(_) | UseTree::Group(_) => return Group::External,
    };
    match first.as_str() {
        "std" | "core" | "alloc" => Group::Standard,
        "crate" | "self" | "super" => Group::Crate,
        name if children.iter().any(|child| child == name) => Group::Crate,
        _ => Group::External,
    }
}

struct Derives<'a> {
    path: &'a str,
    findings: Vec<Finding>,
}

impl<'ast> Visit<'ast> for Derives<'_> {
    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if attribute.path().is_ident("derive") {
            // Foreign derives share the last place, so any order among them is accepted.
            let mut places = Vec::new();
            // An attribute that does not parse does not compile either.
            let _ = attribute.parse_nested_meta(|meta| {
                let name = meta.path.segments.last().map(|s| s.ident.to_string());
                let place = name.and_then(|name| DERIVES.iter().position(|d| *d == name));
                places.push(place.unwrap_or(DERIVES.len()));
                Ok(())
            });
            if !places.is_sorted() {
                let line = attribute.pound_token.span.start().line;
                let allowed = format!("{}, then others", DERIVES.join(", "));
                self.findings.push(Finding::new(self.path, line, "derives out of order", allowed));
            }
        }
        visit::visit_attribute(self, attribute);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<usize> {
        check(&Tree::of(&[("a.rs", text)])).iter().map(|f| f.line).collect()
    }

    #[test]
    fn imports_out_of_order_are_found() {
        let good =
            "use std::fs;\nuse std::io;\n\nuse anyhow::bail;\n\nuse crate::a;\nuse super::b;";

        assert!(found(good).is_empty());
        assert_eq!(found("use anyhow::bail;\n\nuse std::fs;"), [3]);
        assert_eq!(found("use std::fs;\nuse anyhow::bail;"), [2]);
        assert_eq!(found("use std::fs;\n\nuse std::io;"), [3]);
        assert_eq!(found("use child::A;\n\nuse anyhow::bail;\n\nmod child;"), [3]);
        assert!(found("use crate::a;\n\nmod child;\n\nuse child::A;").is_empty());
    }

    #[test]
    fn derives_out_of_order_are_found() {
        assert!(
            found("#[derive(Clone, Debug, Hash, Serialize, thiserror::Error)]\nstruct A;")
                .is_empty()
        );
        assert_eq!(found("\n#[derive(Debug, Clone)]\nstruct A;"), [2]);
        assert_eq!(found("#[derive(Serialize, Debug)]\nstruct A;"), [1]);
    }
}
