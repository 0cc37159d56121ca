//! The rules of `cargo xtask tidy`, applied to the repository.

#[test]
fn the_tree_is_tidy() {
    let sh = xtask::shell().expect("the process has a current directory");
    let findings = xtask::tidy::findings(&sh).expect("the tree can be read");

    let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}
