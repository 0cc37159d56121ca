//! The repository against its own rules.

/// The checks of `cargo xtask tidy`.
#[test]
fn the_tree_is_tidy() {
    let findings: Vec<String> = xtask::tidy::findings(&xtask::root())
        .expect("the tree can be read")
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}
