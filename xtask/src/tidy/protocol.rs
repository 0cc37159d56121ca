//! The protocol's page was read when its source changed.

use super::Finding;
use crate::codegen::page;
use crate::tree::Tree;

const ALLOWED: &str =
    "a page that was read against the source, then refreshed with `cargo xtask codegen`";

pub(super) fn check(tree: &Tree) -> Option<Finding> {
    let Some(text) = tree.text(page::PATH) else {
        return Some(Finding::new(page::PATH, 1, "missing", "a page that describes the protocol"));
    };
    match page::tie(text) {
        None => Some(Finding::new(page::PATH, 1, "not tied to the protocol's source", ALLOWED)),
        Some((line, tied)) if tied != page::source(tree) => Some(Finding::new(
            page::PATH,
            line,
            format!("written for another state of {}", page::SOURCE),
            ALLOWED,
        )),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "crates/rejoin-protocol/src/lib.rs";

    #[test]
    fn a_changed_source_unties_the_page() {
        let page = "<!-- codes:begin --><!-- codes:end -->\n";
        let before = Tree::of(&[(page::PATH, page), (SOURCE, "1")]);
        let page = page::refresh(page, "", &page::source(&before)).unwrap();
        assert_eq!(check(&Tree::of(&[(page::PATH, &page), (SOURCE, "1")])), None);
        let found = check(&Tree::of(&[(page::PATH, &page), (SOURCE, "2")])).unwrap();
        assert!(found.wrong.contains("another state"), "{found}");
    }

    #[test]
    fn a_missing_or_untied_page_is_found() {
        assert!(check(&Tree::of(&[])).is_some_and(|f| f.wrong == "missing"));
        assert!(check(&Tree::of(&[(page::PATH, "# P\n")])).is_some());
    }
}
