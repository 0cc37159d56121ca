//! The named cases, which the comparison with xterm.js reads too.

use std::collections::HashSet;

use rejoin_screen::{Screen, ScreenSize};
use serde::Deserialize;

use crate::{assert_same, fed, restored};

const CASES: &str = include_str!("../../cases/cases.json");

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
    tails: Vec<String>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    cols: u16,
    rows: u16,
    output: String,
    #[serde(default)]
    hex: String,
    resize: Option<(u16, u16)>,
    #[serde(default)]
    then: String,
    #[serde(default)]
    later: Vec<Step>,
}

/// Further output, or a new size.
#[derive(Deserialize)]
#[serde(untagged)]
enum Step {
    Output(String),
    Size(u16, u16),
}

impl Case {
    fn screen(&self) -> Screen {
        let mut screen = fed(self.cols, self.rows, self.output.as_bytes());
        for byte in 0..self.hex.len() / 2 {
            let digits = &self.hex[2 * byte..2 * byte + 2];
            screen.feed(&[u8::from_str_radix(digits, 16).expect("the digits are hexadecimal")]);
        }

        if let Some((cols, rows)) = self.resize {
            screen.resize(ScreenSize { cols, rows });
        }

        screen.feed(self.then.as_bytes());
        for step in &self.later {
            match step {
                Step::Output(output) => screen.feed(output.as_bytes()),
                Step::Size(cols, rows) => screen.resize(ScreenSize { cols: *cols, rows: *rows }),
            }
        }

        screen
    }
}

fn cases() -> Cases {
    serde_json::from_str(CASES).expect("cases.json is valid")
}

#[test]
fn each_named_case_is_restored_and_continues_identically() {
    let Cases { cases, tails } = cases();
    for case in &cases {
        let original = case.screen();
        assert_same(&original, &restored(&original));

        for tail in &tails {
            let (mut one, mut two) = (original.clone(), restored(&original));
            one.feed(tail.as_bytes());
            two.feed(tail.as_bytes());

            assert!(one == two, "{} followed by {tail:?}:\n{one:?}\n{two:?}", case.name);
        }
    }
}

#[test]
fn each_named_case_is_restored_at_each_byte() {
    // The work is quadratic, so long cases are left out.
    for case in cases().cases.iter().filter(|case| case.output.len() < 500) {
        let output = case.output.as_bytes();
        let whole = fed(case.cols, case.rows, output);

        for cut in 0..output.len() {
            let (before, after) = output.split_at(cut);
            let mut late = restored(&fed(case.cols, case.rows, before));
            late.feed(after);

            assert!(whole == late, "{} cut at {cut}:\n{whole:?}\n{late:?}", case.name);
        }
    }
}

#[test]
fn a_snapshot_of_a_named_case_contains_no_query() {
    for case in cases().cases {
        let mut late = restored(&case.screen());
        assert_eq!(late.take_answers(), b"", "{}", case.name);
    }
}

#[test]
fn there_are_at_least_a_hundred_cases_with_unique_names() {
    let cases = cases().cases;
    let names: HashSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "names are unique");
    assert!(cases.len() >= 100);
}
