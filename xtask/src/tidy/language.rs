//! The language of docs, comments, texts, test names and pages.

use super::Finding;
use super::survey::{self, Survey, Text};
use crate::tree::Tree;

/// First words that announce a subject instead of stating it.
pub(super) const OPENERS: [&str; 5] = ["What", "Who", "Whose", "How", "Where"];
/// First words that turn a contract into a condition.
pub(super) const CONDITIONAL_OPENERS: [&str; 3] = ["Whether", "When", "Which"];

/// Words that do not name a component. Split, so that this file passes its own check.
const WORDS: [&str; 15] = [
    concat!("who", "ever"),
    concat!("some", "body"),
    concat!("no", "body"),
    concat!("any", "body"),
    concat!("some", "one"),
    concat!("any", "one"),
    concat!("to", "ld"),
    concat!("te", "ll"),
    concat!("te", "lls"),
    concat!("sa", "id"),
    concat!("he", "ar"),
    concat!("he", "ars"),
    concat!("he", "ard"),
    concat!("he", "rd"),
    concat!("lob", "by"),
];
/// The start of a word that stands for several others.
const WORD_START: &str = concat!("sett", "l");
/// The words that are also wrong in literals. The others occur in names and test data.
const WORDS_IN_STRINGS: [&str; 6] = [WORDS[0], WORDS[1], WORDS[2], WORDS[3], WORDS[6], WORDS[9]];
/// The first words of a test name that does not state a behaviour.
const TEST_OPENERS: [&str; 4] = ["who", "what", "how", "where"];

const MAX_TEST_WORDS: usize = 10;

/// Words that end with an `s` but are no verbs.
const NOT_VERBS: [&str; 4] = ["As", "Its", "This", "Whether"];

/// The violations in one file.
#[derive(Debug, Default)]
pub(super) struct Violations {
    pub(super) openers: Vec<Text>,
    pub(super) conditional_openers: Vec<Text>,
    pub(super) words: Vec<Text>,
    pub(super) long_tests: Vec<Text>,
    /// The first lines of function docs without a verb. They are measured only.
    pub(super) without_verb: Vec<Text>,
}

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, survey) in survey::all(tree) {
        findings.extend(findings_of(path, violations(&survey)));
    }
    for (path, text) in tree.texts().filter(|(path, _)| path.ends_with(".md")) {
        let words = page_words(text);
        findings.extend(findings_of(path, Violations { words, ..Violations::default() }));
    }
    findings
}

fn findings_of(path: &str, violations: Violations) -> Vec<Finding> {
    let kinds = [
        (violations.openers, "opens with", "a verb for a function, else a noun phrase"),
        (violations.conditional_openers, "opens with", "`Returns true if ...`, or a noun phrase"),
        (violations.words, "contains", "the name of the component and a precise verb"),
        (violations.long_tests, "is a test name of over ten words:", "a shorter behaviour"),
    ];
    let mut findings = Vec::new();
    for (texts, problem, allowed) in kinds {
        for Text { line, text } in texts {
            findings.push(Finding::new(path, line, format!("{problem} `{text}`"), allowed));
        }
    }
    findings
}

/// Returns the violations in a source file, each with the offending word or name.
pub(super) fn violations(survey: &Survey) -> Violations {
    let mut violations = Violations::default();
    for block in &survey.doc_blocks {
        let word = words(&block.first.text).next().unwrap_or_default().to_owned();
        let found = Text { line: block.first.line, text: word.clone() };
        if OPENERS.contains(&word.as_str()) {
            violations.openers.push(found.clone());
        }
        if CONDITIONAL_OPENERS.contains(&word.as_str()) {
            violations.conditional_openers.push(found.clone());
        }
        // A heuristic: the third person ends with an `s`.
        let is_verb = word.ends_with('s') && !NOT_VERBS.contains(&word.as_str());
        if block.is_of_function && !is_verb {
            violations.without_verb.push(found);
        }
    }

    let prose = survey.docs.iter().chain(&survey.comments);
    violations.words.extend(prose.flat_map(|text| find_words(text, is_banned)));
    let in_string = |word: &str| WORDS_IN_STRINGS.contains(&word);
    violations.words.extend(survey.strings.iter().flat_map(|text| find_words(text, in_string)));

    for test in &survey.tests {
        let name = test.text.replace('_', " ");
        let text = Text { line: test.line, text: name };
        if words(&text.text).count() > MAX_TEST_WORDS {
            violations.long_tests.push(test.clone());
        }
        // A name that opens with a question word states no behaviour.
        let opener = words(&text.text).next().filter(|word| TEST_OPENERS.contains(word));
        violations.words.extend(opener.map(|word| Text { line: test.line, text: word.to_owned() }));
        violations.words.extend(find_words(&text, is_banned));
    }
    violations
}

/// Returns the banned words of a page, outside of code blocks.
pub(super) fn page_words(page: &str) -> Vec<Text> {
    let prose = super::links::prose(page);
    prose
        .flat_map(|(line, text)| find_words(&Text { line, text: text.to_owned() }, is_banned))
        .collect()
}

fn find_words(text: &Text, is_wrong: impl Fn(&str) -> bool) -> Vec<Text> {
    let wrong = words(&text.text).filter(|word| is_wrong(&word.to_lowercase()));
    wrong.map(|word| Text { line: text.line, text: word.to_owned() }).collect()
}

fn is_banned(word: &str) -> bool {
    WORDS.contains(&word) || word.starts_with(WORD_START)
}

/// Splits a text into words. An identifier with underscores is one word.
fn words(text: &str) -> impl Iterator<Item = &str> {
    // An apostrophe or a hyphen is part of a word.
    let is_part = |c: char| c.is_alphanumeric() || "_-'’".contains(c);
    text.split(move |c| !is_part(c)).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[(path, text)])).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn openers_are_found_at_the_start_of_a_block_only() {
        let text =
            "/// A type.\n/// What continues is fine.\nstruct A;\n/// What it is.\nstruct B;\n";
        let openers = found("a.rs", text);

        assert_eq!(openers.len(), 1);
        assert!(openers[0].starts_with("a.rs:4: opens with `What`"), "{}", openers[0]);
        assert_eq!(found("a.ts", "/** Whether it is. */\nlet a;\n").len(), 1);
    }

    #[test]
    fn banned_words_are_found_in_all_prose() {
        for word in WORDS {
            assert_eq!(found("a.rs", &format!("// It is {word}.\n")).len(), 1, "{word}");
            assert_eq!(found("a.md", &format!("It is {word}.\n```\n{word}\n```\n")).len(), 1);
        }
        for word in WORDS_IN_STRINGS {
            assert_eq!(found("a.rs", &format!("const A: &str = \"{word}\";\n")).len(), 1);
        }
        assert!(found("a.rs", "// The shepherd's hearing; fn_told.\n").is_empty());
    }

    #[test]
    fn long_test_names_are_found() {
        let test = |name: &str| format!("#[test]\nfn {name}() {{}}\n");

        assert!(found("a.rs", &test("a_b_c_d_e_f_g_h_i_j")).is_empty());
        assert_eq!(found("a.rs", &test("a_b_c_d_e_f_g_h_i_j_k")).len(), 1);
        assert_eq!(found("a.rs", &test("what_is_sent_arrives")).len(), 1);
        assert_eq!(found("a.ts", "it(\"a b c d e f g h i j k\", () => {});\n").len(), 1);
    }

    #[test]
    fn function_docs_without_a_verb_are_measured() {
        let survey = survey::all(&Tree::of(&[(
            "a.rs",
            "/// The name.\nfn a() {}\n/// Returns it.\nfn b() {}\n/// The name.\nstruct C;\n",
        )]))
        .remove(0)
        .1;

        assert_eq!(violations(&survey).without_verb.len(), 1);
    }
}
