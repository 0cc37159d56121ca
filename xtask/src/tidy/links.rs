//! Links between the documents lead somewhere.

use super::Finding;
use crate::tree::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let documents = tree.texts().filter(|(path, _)| path.ends_with(".md"));
    documents.flat_map(|(path, text)| check_document(tree, path, text)).collect()
}

fn check_document(tree: &Tree, path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in prose(text) {
        for target in targets(line) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { Some(path.to_owned()) } else { resolve(path, file) };
            let Some(file) = file.filter(|file| tree.has(file)) else {
                findings.push(Finding::new(
                    path,
                    number,
                    format!("the link `{target}` leads to no file"),
                    "a path that exists, from this document",
                ));
                continue;
            };
            let page = tree.text(&file).filter(|_| file.ends_with(".md"));
            if !anchor.is_empty() && page.is_some_and(|page| !has_heading(page, anchor)) {
                findings.push(Finding::new(
                    path,
                    number,
                    format!("the link `{target}` leads to no heading"),
                    format!("an anchor made of a heading in {file}"),
                ));
            }
        }
    }
    findings
}

/// The numbered lines outside of code blocks.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        (!in_code && !fence).then_some((index + 1, line))
    })
}

/// What the links of a line lead to, as far as it is in the repository.
fn targets(line: &str) -> Vec<&str> {
    let mut targets = Vec::new();
    // Odd pieces are code: a link in there is an example.
    let mut rest = line;
    while let Some(at) = rest.find("](") {
        let in_code = line[..line.len() - rest.len() + at].matches('`').count() % 2 == 1
            && rest[at..].contains('`');
        rest = &rest[at + 2..];
        let Some(end) = rest.find(')') else { break };
        let target = rest[..end].split_whitespace().next().unwrap_or_default();
        let outside = target.contains("://") || target.starts_with("mailto:");
        if !in_code && !outside && !target.is_empty() {
            targets.push(target);
        }
    }
    targets
}

/// The path from the root, of a path from a document.
fn resolve(document: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

fn has_heading(page: &str, anchor: &str) -> bool {
    prose(page).any(|(_, line)| {
        let heading = line.trim_start_matches('#');
        heading.len() < line.len() && slug(heading) == anchor
    })
}

/// The anchor that code hosts make of a heading.
fn slug(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let tree = Tree::of(&[
            ("README.md", "# Rejoin\n"),
            ("docs/a.md", text),
            ("docs/b.md", "# First: `code`, 2nd\n```\n# no heading\n```\n"),
            ("docs/c.png", ""),
        ]);
        check(&tree).into_iter().map(|f| f.wrong).collect()
    }

    #[test]
    fn a_link_to_nowhere_is_found() {
        assert_eq!(found("x\nsee [b](c.md)"), ["the link `c.md` leads to no file"]);
        assert_eq!(found("[up](../../README.md)"), ["the link `../../README.md` leads to no file"]);
        assert_eq!(found("[b](b.md#second)"), ["the link `b.md#second` leads to no heading"]);
        assert_eq!(found("[b](b.md#no-heading)").len(), 1);
        assert_eq!(found("[b](b.md), [c](d.md)").len(), 1);
    }

    #[test]
    fn links_that_lead_somewhere_are_not() {
        let good = "# Here\n[b](b.md#first-code-2nd) [up](../README.md) [d](./) ![p](c.png)\n\
                    [h](#here) [web](https://example.org/x.md)\n`[code](x.md)`\n```\n[c](x.md)\n```\n";
        assert_eq!(found(good), [""; 0]);
    }
}
