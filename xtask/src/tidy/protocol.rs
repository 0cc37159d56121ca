//! The protocol's page is updated together with its source.

use super::Finding;
use crate::codegen::page;
use crate::tree::Tree;

const ALLOWED: &str =
    "a page that was compared with the source, then updated by `cargo xtask codegen`";

pub(super) fn check(tree: &Tree) -> Option<Finding> {
    let Some(text) = tree.text(page::PATH) else {
        return Some(Finding::new(page::PATH, 1, "missing", "a page that describes the protocol"));
    };

    // The fingerprint covers comments too: a doc comment often states a rule of the protocol.
    match page::page_fingerprint(text) {
        None => Some(Finding::new(
            page::PATH,
            1,
            "lacks the fingerprint of the protocol's source",
            ALLOWED,
        )),
        Some((line, fingerprint)) if fingerprint != page::source_fingerprint(tree) => {
            Some(Finding::new(
                page::PATH,
                line,
                format!("describes another version of {}", page::SOURCE),
                ALLOWED,
            ))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "crates/rejoin-protocol/src/lib.rs";

    #[test]
    fn a_change_of_the_source_is_found() {
        let page = "<!-- codes:begin --><!-- codes:end -->\n";
        let before = Tree::of(&[(page::PATH, page), (SOURCE, "1")]);
        let page = page::refresh(page, "", &page::source_fingerprint(&before)).unwrap();

        assert_eq!(check(&Tree::of(&[(page::PATH, &page), (SOURCE, "1")])), None);

        let found = check(&Tree::of(&[(page::PATH, &page), (SOURCE, "2")])).unwrap();
        assert!(found.wrong.contains("another version"), "{found}");
    }

    #[test]
    fn a_missing_page_or_fingerprint_is_found() {
        assert!(check(&Tree::of(&[])).is_some_and(|f| f.wrong == "missing"));
        assert!(check(&Tree::of(&[(page::PATH, "# P\n")])).is_some());
    }
}
