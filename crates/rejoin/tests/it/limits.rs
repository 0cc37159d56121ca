//! The page of limits.

use crate::support::Home;

/// The keys that a table of the configuration takes, as the complaint about another one lists them.
fn keys(home: &Home, before: &str, after: &str) -> Vec<String> {
    home.write("rejoin.toml", &format!("{before}no_such_key = 1{after}"));
    let complaint = home.complains(&["config", "check"]);
    let (_, list) = complaint.split_once("expected ").expect(&complaint);
    let keys: Vec<_> = list.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(keys.len() > 1, "{complaint}");
    keys
}

#[test]
fn each_key_that_is_a_limit_has_its_row() {
    let home = Home::new();
    let page = include_str!("../../../../docs/limits.md");
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with('|')).collect();
    for (section, before, after) in [
        ("limits", "[limits]\n", ""),
        ("sessions", "[sessions]\n", ""),
        ("topics.\"NAME\"", "[topics.NAME]\n", ""),
        ("topics.\"NAME\".retain", "[topics.NAME]\nretain = { ", " }"),
    ] {
        for key in keys(&home, before, after) {
            let key = format!("{section}.{key}");
            // A table is in the page by its keys.
            let is_there = |row: &&&str| {
                row.contains(&format!("`{key}`")) || row.contains(&format!("`{key}."))
            };
            assert!(rows.iter().find(is_there).is_some(), "docs/limits.md has no row for `{key}`");
        }
    }
}
