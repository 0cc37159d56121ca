//! Links between the pages lead to files and headings that exist.

use super::Finding;
use crate::tree::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let pages = tree.texts().filter(|(path, _)| path.ends_with(".md"));
    pages.flat_map(|(path, text)| check_page(tree, path, text)).collect()
}

fn check_page(tree: &Tree, path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in prose(text) {
        for target in targets(line) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            // `#anchor` alone is a heading of this page.
            let file = if file.is_empty() { Some(path.to_owned()) } else { resolve(path, file) };
            let Some(file) = file.filter(|file| tree.has(file)) else {
                findings.push(Finding::new(
                    path,
                    number,
                    format!("the link `{target}` leads to no file"),
                    "an existing path, relative to this page",
                ));
                continue;
            };

            // Anchors of source files are line numbers, which are not checked.
            let page = tree.text(&file).filter(|_| file.ends_with(".md"));
            if !anchor.is_empty() && page.is_some_and(|page| !has_heading(page, anchor)) {
                findings.push(Finding::new(
                    path,
                    number,
                    format!("the link `{target}` leads to no heading"),
                    format!("the anchor of a heading in {file}"),
                ));
            }
        }
    }
    findings
}

/// Returns the lines outside of code blocks, numbered from 1.
pub(super) fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        (!in_code && !fence).then_some((index + 1, line))
    })
}

/// Returns the targets of a line's links into the repository.
fn targets(line: &str) -> Vec<&str> {
    let mut targets = Vec::new();
    let mut rest = line;
    while let Some(at) = rest.find("](") {
        // A link after an odd number of backticks is an example.
        let in_code = line[..line.len() - rest.len() + at].matches('`').count() % 2 == 1
            && rest[at..].contains('`');
        rest = &rest[at + 2..];
        let Some(end) = rest.find(')') else { break };

        let target = rest[..end].split_whitespace().next().unwrap_or_default();
        let is_external = target.contains("://") || target.starts_with("mailto:");
        if !in_code && !is_external && !target.is_empty() {
            targets.push(target);
        }
    }
    targets
}

/// Returns the path from the root of a target on `page`. `None` if it leaves the root.
fn resolve(page: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
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

/// Returns the anchor of a heading, as code hosts derive it.
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
    fn broken_links_are_found() {
        assert_eq!(found("x\nsee [b](c.md)"), ["the link `c.md` leads to no file"]);
        assert_eq!(found("[up](../../README.md)"), ["the link `../../README.md` leads to no file"]);
        assert_eq!(found("[b](b.md#second)"), ["the link `b.md#second` leads to no heading"]);
        assert_eq!(found("[b](b.md#no-heading)").len(), 1);
        assert_eq!(found("[b](b.md), [c](d.md)").len(), 1);
    }

    #[test]
    fn valid_links_are_accepted() {
        let good = "# Here\n[b](b.md#first-code-2nd) [up](../README.md) [d](./) ![p](c.png)\n\
                    [h](#here) [web](https://example.org/x.md)\n`[code](x.md)`\n```\n[c](x.md)\n```\n";
        assert_eq!(found(good), [""; 0]);
    }
}
