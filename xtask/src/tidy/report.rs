//! `cargo xtask tidy --report`: the measurements of each area.

use super::language::{self, Violations};
use super::modules;
use super::survey::{self, Survey};
use crate::packages::Package;
use crate::tree::{Tree, is_below};

/// The areas that are not packages of the workspace.
const OTHER_AREAS: [&str; 3] = ["client", "web", "docs"];

const LEGEND: &str = "\
openers: doc blocks that open with What/Who/Whose/How/Where, and with Whether/When/Which, \
with the share of all doc lines (goal: below 2 %)
words: banned words (goal: 0)
no verb: function docs without a verb, of all function docs (a heuristic)
blank: blank lines inside functions (goal: 5 % or more)
comments: lines that are comments (goal: 2 % or more)
tests: test names of over ten words (goal: 0)
lines: lines per file: median, 90th percentile, maximum
cycles: module cycles (goal: 0)
examples: doc examples that are compiled";

/// The sums over an area.
#[derive(Debug, Default)]
struct Measures {
    openers: usize,
    conditional_openers: usize,
    doc_lines: usize,
    words: usize,
    without_verb: usize,
    function_docs: usize,
    blank: usize,
    function_lines: usize,
    comments: usize,
    long_tests: usize,
    /// The number of lines of each file.
    lines: Vec<usize>,
    cycles: usize,
    examples: usize,
}

/// Returns a table with a row per area, and its legend.
pub(super) fn lines(packages: &[Package], tree: &Tree) -> Vec<String> {
    let surveys = survey::all(tree);
    let mut areas: Vec<&str> = packages.iter().map(|p| p.folder.as_str()).collect();
    areas.sort_unstable();
    areas.extend(OTHER_AREAS);

    let mut total = Measures::default();
    let mut lines = vec![heading()];
    for area in areas {
        let mut measures = Measures::default();
        for (_, survey) in surveys.iter().filter(|(path, _)| is_below(path, area)) {
            measures.add_survey(survey);
        }
        // The words of a page count in its area; its length counts in `docs` only.
        for (_, page) in tree.texts().filter(|(path, _)| is_page(path) && is_below(path, area)) {
            measures.words += language::page_words(page).len();
            measures.lines.extend((area == "docs").then(|| page.lines().count()));
        }
        if let Some(package) = packages.iter().find(|package| package.folder == area) {
            measures.cycles = modules::cycles(package, tree).len();
        }
        lines.push(measures.row(area));
        total.add(measures);
    }

    lines.push(total.row("total"));
    lines.push(String::new());
    lines.extend(LEGEND.lines().map(str::to_owned));
    lines
}

fn is_page(path: &str) -> bool {
    path.ends_with(".md")
}

fn heading() -> String {
    format!(
        "{:<24}{:>17}{:>7}{:>10}{:>8}{:>10}{:>7}{:>15}{:>9}{:>10}",
        "area",
        "openers",
        "words",
        "no verb",
        "blank",
        "comments",
        "tests",
        "lines",
        "cycles",
        "examples"
    )
}

impl Measures {
    fn add_survey(&mut self, survey: &Survey) {
        let Violations { openers, conditional_openers, words, long_tests, without_verb } =
            language::violations(survey);
        self.add(Self {
            openers: openers.len(),
            conditional_openers: conditional_openers.len(),
            doc_lines: survey.docs.len(),
            words: words.len(),
            without_verb: without_verb.len(),
            function_docs: survey.doc_blocks.iter().filter(|b| b.is_of_function).count(),
            blank: survey.functions.iter().map(|f| f.blank).sum(),
            function_lines: survey.functions.iter().map(|f| f.lines).sum(),
            comments: survey.comments.len(),
            long_tests: long_tests.len(),
            lines: vec![survey.lines],
            cycles: 0,
            examples: survey.examples,
        });
    }

    fn add(&mut self, other: Self) {
        self.openers += other.openers;
        self.conditional_openers += other.conditional_openers;
        self.doc_lines += other.doc_lines;
        self.words += other.words;
        self.without_verb += other.without_verb;
        self.function_docs += other.function_docs;
        self.blank += other.blank;
        self.function_lines += other.function_lines;
        self.comments += other.comments;
        self.long_tests += other.long_tests;
        self.lines.extend(other.lines);
        self.cycles += other.cycles;
        self.examples += other.examples;
    }

    fn row(&self, area: &str) -> String {
        let mut lines = self.lines.clone();
        lines.sort_unstable();
        let openers = self.openers + self.conditional_openers;
        let sizes = [percentile(&lines, 50), percentile(&lines, 90), percentile(&lines, 100)];
        format!(
            "{area:<24}{:>17}{:>7}{:>10}{:>8}{:>10}{:>7}{:>15}{:>9}{:>10}",
            format!(
                "{}+{} {}",
                self.openers,
                self.conditional_openers,
                percent(openers, self.doc_lines)
            ),
            self.words,
            format!("{}/{}", self.without_verb, self.function_docs),
            percent(self.blank, self.function_lines),
            percent(self.comments, self.lines.iter().sum()),
            self.long_tests,
            sizes.map(|size| size.to_string()).join("/"),
            self.cycles,
            self.examples
        )
    }
}

/// Returns the value that `percent` of the sorted values do not exceed.
fn percentile(sorted: &[usize], percent: usize) -> usize {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

/// Formats a share with one decimal.
fn percent(part: usize, whole: usize) -> String {
    let tenths = 1000 * part / whole.max(1);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_of_the_list() {
        assert_eq!(percentile(&[1, 2, 3, 4], 50), 2);
        assert_eq!(percentile(&[1, 2, 3, 4], 90), 4);
        assert_eq!(percentile(&[], 50), 0);
    }

    #[test]
    fn an_area_has_a_row_and_the_total_is_last() {
        let folder = "crates/a".to_owned();
        let packages = [Package { name: "a".to_owned(), folder, dependencies: Vec::new() }];
        let tree = Tree::of(&[
            ("crates/a/src/lib.rs", "//! A.\n\n/// What it is.\nfn a() {\n\n}\n"),
            ("docs/a.md", "x\n"),
        ]);
        let lines = lines(&packages, &tree);
        let row = |index: usize| lines[index].split_whitespace().collect::<Vec<_>>().join(" ");

        assert_eq!(row(1), "crates/a 1+0 50.0 % 0 1/1 50.0 % 0.0 % 0 6/6/6 0 0");
        assert!(row(5).starts_with("total 1+0"));
    }
}
