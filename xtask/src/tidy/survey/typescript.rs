//! The survey of a TypeScript file, by its lines. It relies on the formatter's layout.

use super::{DocBlock, Function, Survey, Text};

/// Keywords whose lines look like a method: `if (x) {`.
const STATEMENTS: [&str; 7] = ["if", "for", "while", "switch", "catch", "do", "else"];

pub(super) fn survey(text: &str) -> Survey {
    let lines: Vec<&str> = text.lines().collect();
    let mut survey = Survey { lines: lines.len(), ..Survey::default() };
    let mut in_doc = false;

    for (line, text) in (1..).zip(&lines) {
        let trimmed = text.trim();
        if in_doc || trimmed.starts_with("/**") {
            let doc = trimmed.trim_start_matches(['/', '*']).trim_end_matches("*/").trim();
            let first = Text { line, text: doc.to_owned() };
            // A block starts with its first words, which may follow on the next line.
            let is_first = !in_doc || matches!(lines.get(line - 2), Some(l) if l.trim() == "/**");
            if is_first && !doc.is_empty() {
                survey.doc_blocks.push(DocBlock { first: first.clone(), is_of_function: false });
            }
            survey.docs.push(first);
            in_doc = !trimmed.ends_with("*/");

            // The line after the block decides which item it documents.
            let next = lines.get(line).is_some_and(|next| is_function(next));
            if let Some(block) = survey.doc_blocks.last_mut().filter(|_| !in_doc && next) {
                block.is_of_function = true;
            }
        } else if let Some(comment) = trimmed.strip_prefix("//") {
            survey.comments.push(Text { line, text: comment.trim().to_owned() });
        } else {
            survey.tests.extend(test_name(trimmed).map(|text| Text { line, text }));
            // Odd pieces are inside quotes. Escaped quotes are rare enough to ignore.
            let quoted = trimmed.split('"').skip(1).step_by(2);
            survey.strings.extend(quoted.map(|text| Text { line, text: text.to_owned() }));
            if is_function(text) {
                let last = last_line(&lines, line);
                survey.functions.extend(Function::measure(&lines, line, last));
            }
        }
    }
    survey
}

/// Returns whether a line starts a function or a method with a body.
fn is_function(line: &str) -> bool {
    let mut rest = line.trim();
    for modifier in ["export ", "default ", "static ", "async ", "get ", "set ", "private "] {
        rest = rest.strip_prefix(modifier).unwrap_or(rest);
    }
    if rest.starts_with("function ") || rest.starts_with("function*") {
        return true;
    }

    let name_end = rest.find(|c: char| !c.is_alphanumeric() && !"#_$".contains(c));
    let (name, rest) = rest.split_at(name_end.unwrap_or(rest.len()));
    // `name(...) {` or `name<T>(...) {`; a callback such as `on("x", () => {` is no method.
    let is_method = !name.is_empty() && rest.starts_with(['(', '<']) && rest.ends_with('{');
    is_method && !STATEMENTS.contains(&name) && !rest.contains("=>") && test_name(line).is_none()
}

/// Returns the line of the brace that ends a function, by its indentation.
fn last_line(lines: &[&str], first: usize) -> usize {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let column = indent(lines[first - 1]);
    let ends = |line: &&str| line.trim_start().starts_with('}') && indent(line) == column;
    lines[first..].iter().position(ends).map_or(first, |offset| first + offset + 1)
}

/// Returns the name of a test from `it("...")` or `test.each(...)("...")`.
fn test_name(line: &str) -> Option<String> {
    let rest = line.strip_prefix("it").or_else(|| line.strip_prefix("test"))?;
    let is_call = rest.starts_with(['(', '.']);
    let quote = rest.find(['"', '`'])?;
    let end = rest[quote + 1..].find(['"', '`'])?;
    let is_first_argument = rest[..quote].ends_with('(');
    (is_call && is_first_argument).then(|| rest[quote + 1..quote + 1 + end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"/** A file. */
export class Client {
  /**
   * Sends it.
   */
  async send(text: string): Promise<void> {
    // A reason.
    if (text) {
      return;
    }

    this.#socket.send("text");
  }
}

it("sends each text once", async () => {
});
"#;

    #[test]
    fn docs_know_their_function() {
        let blocks = survey(SOURCE).doc_blocks;
        let blocks: Vec<_> =
            blocks.iter().map(|b| (b.first.text.as_str(), b.is_of_function)).collect();

        assert_eq!(blocks, [("A file.", false), ("Sends it.", true)]);
    }

    #[test]
    fn methods_and_tests_are_found() {
        let survey = survey(SOURCE);

        assert_eq!(survey.functions.len(), 1);
        assert_eq!((survey.functions[0].lines, survey.functions[0].blank), (7, 1));
        assert_eq!(survey.tests[0].text, "sends each text once");
        assert_eq!((survey.comments.len(), survey.docs.len()), (1, 4));
    }
}
