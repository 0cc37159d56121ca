//! The survey of a Rust file, by its tokens.
//!
//! Tokens also cover the bodies of macros such as `proptest!`, which a parsed file does not.
//! Comments are no tokens, so they are found by line, outside of literals.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use super::{DocBlock, Function, Survey, Text};

pub(super) fn survey(text: &str) -> Survey {
    let lines: Vec<&str> = text.lines().collect();
    let mut walk =
        Walk { lines: &lines, survey: Survey::default(), inside_literals: BTreeSet::new() };
    // A file that does not parse does not compile either; its lines still count.
    if let Ok(tokens) = text.parse::<TokenStream>() {
        walk.walk(tokens);
    }

    let Walk { mut survey, inside_literals, .. } = walk;
    survey.lines = lines.len();
    let mut in_example = false;
    for (line, text) in (1..).zip(&lines).filter(|(line, _)| !inside_literals.contains(line)) {
        let text = text.trim();
        if let Some(doc) = text.strip_prefix("///").or_else(|| text.strip_prefix("//!")) {
            if let Some(language) = doc.trim().strip_prefix("```") {
                in_example = !in_example;
                survey.examples += usize::from(in_example && is_compiled(language));
            }
            survey.docs.push(Text { line, text: doc.trim().to_owned() });
        } else if let Some(comment) = text.strip_prefix("//") {
            survey.comments.push(Text { line, text: comment.trim().to_owned() });
        }
    }
    survey
}

/// Returns whether rustdoc compiles a code block with these attributes.
fn is_compiled(attributes: &str) -> bool {
    let compiled = ["rust", "no_run", "should_panic", "compile_fail"];
    attributes.split(',').all(|a| a.trim().is_empty() || compiled.contains(&a.trim()))
}

struct Walk<'a> {
    lines: &'a [&'a str],
    survey: Survey,
    /// The lines that begin inside a literal.
    inside_literals: BTreeSet<usize>,
}

impl Walk<'_> {
    fn walk(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        // The state of the current item: the index of its documentation, whether it is a test, and
        // the line of a `fn` whose body follows.
        let (mut doc, mut is_test, mut function) = (None, false, None);
        let mut last_doc_line = None;

        for (index, token) in tokens.iter().enumerate() {
            let line = token.span().start().line;
            match token {
                TokenTree::Group(group) if is_attribute(&tokens[..index], group) => {
                    if let Some(text) = doc_text(group) {
                        // Each line of a block is an attribute of its own. The first is kept.
                        if last_doc_line != Some(line - 1) {
                            self.survey.doc_blocks.push(DocBlock {
                                first: Text { line, text },
                                is_of_function: false,
                            });
                            // `//!` documents the file, not the next item.
                            let is_inner = is_punct(&tokens[index - 1], '!');
                            doc = (!is_inner).then(|| self.survey.doc_blocks.len() - 1);
                        }
                        last_doc_line = Some(line);
                    } else {
                        is_test |= is_test_attribute(group);
                        self.walk(group.stream());
                    }
                }
                TokenTree::Group(group) => {
                    // A brace ends an item; a parenthesis or bracket is part of a signature.
                    if group.delimiter() == Delimiter::Brace {
                        if let Some(first) = function.take() {
                            let last = group.span_close().end().line;
                            let measured = Function::measure(self.lines, first, last);
                            self.survey.functions.extend(measured);
                        }
                        (doc, is_test) = (None, false);
                    }
                    self.walk(group.stream());
                }
                TokenTree::Ident(ident) if ident == "fn" => {
                    // A function pointer, as in `fn(u8)`, has no name.
                    if let Some(TokenTree::Ident(name)) = tokens.get(index + 1) {
                        function = Some(line);
                        if let Some(doc) = doc.take() {
                            self.survey.doc_blocks[doc].is_of_function = true;
                        }
                        if is_test {
                            self.survey.tests.push(Text { line, text: name.to_string() });
                        }
                    }
                }
                TokenTree::Ident(_) => {}
                TokenTree::Punct(punct) => match punct.as_char() {
                    // The start of an attribute.
                    '#' | '!' => {}
                    ';' => (doc, is_test, function) = (None, false, None),
                    // A field, a variant or a constant, whose documentation is not a function's.
                    _ => doc = None,
                },
                TokenTree::Literal(literal) => {
                    let text = literal.to_string();
                    let end = literal.span().end().line;
                    // A line that begins inside a literal may look like a comment.
                    self.inside_literals.extend(line + 1..=end);
                    // Not a number or a character.
                    if text.contains('"') {
                        self.survey.strings.push(Text { line, text });
                    }
                }
            }
        }
    }
}

/// Returns whether a group follows `#` or `#!`.
fn is_attribute(before: &[TokenTree], group: &Group) -> bool {
    group.delimiter() == Delimiter::Bracket
        && match before {
            [.., hash, bang] if is_punct(bang, '!') => is_punct(hash, '#'),
            [.., hash] => is_punct(hash, '#'),
            [] => false,
        }
}

fn is_punct(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}

/// Returns the text of `doc = "..."`.
fn doc_text(attribute: &Group) -> Option<String> {
    let mut tokens = attribute.stream().into_iter();
    match (tokens.next(), tokens.next(), tokens.next()) {
        (Some(TokenTree::Ident(name)), Some(_), Some(TokenTree::Literal(text))) => {
            let text = text.to_string();
            (name == "doc").then(|| text.trim_matches('"').trim().to_owned())
        }
        _ => None,
    }
}

/// Returns whether the path of an attribute ends with `test`, as in `#[tokio::test(...)]`.
fn is_test_attribute(attribute: &Group) -> bool {
    let path = attribute.stream().into_iter().take_while(|t| !matches!(t, TokenTree::Group(_)));
    matches!(path.last(), Some(TokenTree::Ident(name)) if name == "test")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r##"//! A file.

#[test]
fn first() {}

/// Returns it.
///
/// # Errors
/// Never.
#[must_use]
pub(crate) fn function(callback: fn(u8)) -> &'static str {
    // A reason.
    let text = "// no comment
// nor this
";

    text
}

/// A type.
///
/// ```
/// let example = 1;
/// ```
struct Type { field: u8 }

proptest! {
    #[test]
    fn a_test_in_a_macro(x in 0..1) {}
}

#[cfg(test)]
#[tokio::test(start_paused = true)]
async fn a_test() {}
"##;

    #[test]
    fn docs_know_their_function() {
        let survey = survey(SOURCE);
        let of = |of_function| {
            let blocks = survey.doc_blocks.iter().filter(move |b| b.is_of_function == of_function);
            blocks.map(|b| b.first.text.as_str()).collect::<Vec<_>>()
        };

        assert_eq!(of(true), ["Returns it."]);
        assert_eq!(of(false), ["A file.", "A type."]);
        assert_eq!((survey.docs.len(), survey.examples), (10, 1));
    }

    #[test]
    fn comments_in_literals_are_not_comments() {
        let comments = survey(SOURCE).comments;

        assert_eq!(comments.len(), 1);
        assert_eq!((comments[0].line, comments[0].text.as_str()), (12, "A reason."));
    }

    #[test]
    fn tests_are_found_in_macros() {
        let names: Vec<String> = survey(SOURCE).tests.into_iter().map(|t| t.text).collect();
        assert_eq!(names, ["first", "a_test_in_a_macro", "a_test"]);
    }

    #[test]
    fn blank_lines_count_inside_functions_only() {
        let functions = survey(SOURCE).functions;

        assert_eq!(functions.len(), 1);
        assert_eq!((functions[0].lines, functions[0].blank), (7, 1));
    }
}
