//! The results of the cases: a table by group, and each case that is not OK.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::Value;

use crate::print;

/// The groups and their subjects, in the suite's words.
const GROUPS: [(&str, &str); 11] = [
    ("1", "framing"),
    ("2", "pings and pongs"),
    ("3", "reserved bits"),
    ("4", "opcodes"),
    ("5", "fragmentation"),
    ("6", "UTF-8"),
    ("7", "closing"),
    ("9", "limits and performance"),
    ("10", "auto-fragmentation"),
    ("12", "compression: data and sizes"),
    ("13", "compression: parameters"),
];

/// The columns of the table.
const VERDICTS: [Verdict; 5] = [
    Verdict::Ok,
    Verdict::NonStrict,
    Verdict::Informational,
    Verdict::Unimplemented,
    Verdict::Failed,
];

/// The suite's verdict on a case. Better verdicts come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Ok,
    /// Allowed, but not the preferred behaviour.
    NonStrict,
    /// The case has no expected result.
    Informational,
    /// The endpoint declined the feature under test.
    Unimplemented,
    Failed,
}

impl Verdict {
    /// Parses the suite's word. Words for a failed close and unknown words are failures.
    fn parse(word: &str) -> Self {
        VERDICTS.into_iter().find(|verdict| verdict.word() == word).unwrap_or(Self::Failed)
    }

    fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::NonStrict => "NON-STRICT",
            Self::Informational => "INFORMATIONAL",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Failed => "FAILED",
        }
    }
}

/// The results, ordered by the numbers of the case: `1.1.9` precedes `1.1.10`.
pub(super) struct Results(BTreeMap<Vec<u32>, Case>);

struct Case {
    name: String,
    /// The worse of two verdicts: on the behaviour and on the close of the connection.
    verdict: Verdict,
    /// The suite's words for both verdicts.
    words: String,
}

/// Returns the group of a case, its first number.
pub(super) fn group(case: &str) -> &str {
    case.split('.').next().unwrap_or(case)
}

impl Results {
    /// Parses the `index.json` of the suite.
    pub(super) fn read(index: &Value, agent: &str) -> anyhow::Result<Self> {
        let cases = index[agent].as_object().context("the report has no results")?;
        let cases = cases.iter().map(|(name, result)| {
            let numbers = name.split('.').map(str::parse).collect::<Result<_, _>>();
            let numbers = numbers.with_context(|| format!("the case {name:?} has no number"))?;
            let word = |key: &str| result[key].as_str().unwrap_or("nothing");

            let (behavior, closing) = (word("behavior"), word("behaviorClose"));
            // A case passes only if its connection also closes as it should.
            let verdict = Verdict::parse(behavior).max(Verdict::parse(closing));
            let words = format!("{behavior}, closing: {closing}");

            Ok((numbers, Case { name: name.clone(), verdict, words }))
        });

        cases.collect::<anyhow::Result<_>>().map(Self)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn failed(&self) -> usize {
        self.0.values().filter(|case| case.verdict == Verdict::Failed).count()
    }

    /// Prints the table, then each case that is not OK.
    pub(super) fn print(&self) {
        for line in self.lines() {
            print(line);
        }
    }

    fn lines(&self) -> Vec<String> {
        let headings = VERDICTS.map(|verdict| format!("{:>14}", verdict.word())).concat();
        let mut lines = vec![format!("\n{:<32}{headings}", "group")];
        // A run of a few cases shows their groups only.
        for (number, subject) in GROUPS {
            let counts = self.counts(|case| group(&case.name) == number);
            if counts != [0; VERDICTS.len()] {
                lines.push(row(&format!("{number:>2} {subject}"), counts));
            }
        }
        lines.push(row("all", self.counts(|_| true)));

        let others = self.0.values().filter(|case| case.verdict != Verdict::Ok);
        lines.extend(others.map(|case| format!("{:<9} {}", case.name, case.words)));
        lines
    }

    fn counts(&self, of: impl Fn(&Case) -> bool) -> [usize; VERDICTS.len()] {
        VERDICTS.map(|verdict| {
            self.0.values().filter(|case| of(case) && case.verdict == verdict).count()
        })
    }
}

fn row(name: &str, counts: [usize; VERDICTS.len()]) -> String {
    format!("{name:<32}{}", counts.map(|count| format!("{count:>14}")).concat())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn results(cases: &[(&str, &str, &str)]) -> Results {
        let cases: serde_json::Map<_, _> = cases
            .iter()
            .map(|(name, behavior, closing)| {
                ((*name).to_owned(), json!({ "behavior": behavior, "behaviorClose": closing }))
            })
            .collect();

        Results::read(&json!({ "agent": cases }), "agent").expect("the index is well formed")
    }

    #[test]
    fn the_worse_verdict_of_a_case_counts() {
        for (behavior, closing, failed) in [
            ("OK", "OK", 0),
            ("NON-STRICT", "INFORMATIONAL", 0),
            ("UNIMPLEMENTED", "OK", 0),
            ("FAILED", "OK", 1),
            ("OK", "FAILED", 1),
            ("OK", "WRONG CODE", 1),
            ("OK", "UNCLEAN", 1),
            ("A NEW WORD", "OK", 1),
        ] {
            assert_eq!(results(&[("1.1.1", behavior, closing)]).failed(), failed, "{behavior}");
        }
    }

    #[test]
    fn a_case_without_a_verdict_fails() {
        let index = json!({ "agent": { "1.1.1": { "behavior": "OK" } } });

        assert_eq!(Results::read(&index, "agent").map(|r| r.failed()).ok(), Some(1));
        assert!(Results::read(&json!({}), "agent").is_err());
    }

    #[test]
    fn the_table_counts_by_group_and_lists_imperfect_cases() {
        let results = results(&[
            ("10.1.1", "OK", "OK"),
            ("1.1.10", "NON-STRICT", "OK"),
            ("1.1.9", "OK", "UNCLEAN"),
            ("1.1.1", "OK", "OK"),
        ]);

        let lines: Vec<String> = results
            .lines()
            .iter()
            .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();

        assert_eq!(
            lines,
            [
                "group OK NON-STRICT INFORMATIONAL UNIMPLEMENTED FAILED",
                "1 framing 1 1 0 0 1",
                "10 auto-fragmentation 1 0 0 0 0",
                "all 2 1 0 0 1",
                "1.1.9 OK, closing: UNCLEAN",
                "1.1.10 NON-STRICT, closing: OK",
            ]
        );
    }
}
