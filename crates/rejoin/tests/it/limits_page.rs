//! The documentation of limits.

use crate::support::TestHome;

/// Returns the keys of a table, from the error about an unknown key.
fn known_keys(home: &TestHome, before: &str, after: &str) -> Vec<String> {
    home.write("rejoin.toml", &format!("{before}no_such_key = 1{after}"));

    let error = home.error_of(&["config", "check"]);
    let (_, list) = error.split_once("expected ").expect(&error);
    let keys: Vec<_> = list.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(keys.len() > 1, "{error}");

    keys
}

#[test]
fn each_limit_has_a_row_in_the_documentation() {
    let home = TestHome::new();
    let page = include_str!("../../../../docs/limits.md");
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with('|')).collect();

    for (section, before, after) in [
        ("limits", "[limits]\n", ""),
        ("sessions", "[sessions]\n", ""),
        ("topics.\"NAME\"", "[topics.NAME]\n", ""),
        ("topics.\"NAME\".retain", "[topics.NAME]\nretain = { ", " }"),
    ] {
        for key in known_keys(&home, before, after) {
            let key = format!("{section}.{key}");
            // The page lists a table by its keys.
            let is_row_of_key = |row: &&&str| {
                row.contains(&format!("`{key}`")) || row.contains(&format!("`{key}."))
            };
            let is_listed = rows.iter().find(is_row_of_key).is_some();
            assert!(is_listed, "docs/limits.md has no row for `{key}`");
        }
    }
}
