//! The complete state of a screen as text, for comparison and debugging.

use std::fmt::Write as _;

use crate::grid::buffer::Buffer;
use crate::grid::cell::{Attributes, Colour};
use crate::grid::extras::Extras;
use crate::grid::row::Row;
use crate::parser::Parser;
use crate::sgr;
use crate::terminal::Terminal;

/// Returns everything that affects the display, now or after further output.
///
/// Leaves out queued answers.
pub(super) fn describe(parser: &Parser, terminal: &Terminal) -> Vec<String> {
    // Describes cells by content, because equal screens may have different tables of extras.
    let mut extras = terminal.extras.clone();
    let history = terminal.normal.history.newest(usize::MAX, terminal.cols, &mut extras);
    let Terminal { cols, rows, title, titles, palette, .. } = terminal;
    let pen = &terminal.pen;
    let mut lines = vec![
        format!("{cols}x{rows} {title:?} {titles:?} {palette:?}"),
        format!("{:?}", terminal.modes),
        format!("{:?}", terminal.keyboard),
        format!("{:?}", terminal.charsets),
        format!("pen {} {:?}", sgr::codes(pen.attributes, pen.underline), pen.link),
        format!("protected {}", sgr::is_protected(pen.attributes)),
        format!("printed {:?}", terminal.last_printed().map(|(x, _)| x)),
        format!("pending {:?}", String::from_utf8_lossy(&parser.pending())),
    ];
    lines.push(format!("cursor {} {}", terminal.buffer().x, terminal.buffer().y));

    for (name, buffer) in [("normal", &terminal.normal), ("alternate", &terminal.alternate)] {
        lines.push(format!("{name} {}", settings(buffer, *cols, *rows)));
    }

    lines.extend(history.iter().map(|history| row("history", history, &extras)));
    lines.extend(terminal.normal.rows.iter().map(|normal| row("normal", normal, &extras)));
    lines.extend(terminal.alternate.rows.iter().map(|other| row("alternate", other, &extras)));

    lines
}

/// Returns the settings of a buffer, without those that only a larger screen reveals.
fn settings(buffer: &Buffer, cols: usize, rows: usize) -> String {
    // Clamps positions beyond the screen, as restoring the cursor does.
    let saved = buffer.saved;
    let tabs: Vec<usize> = (0..cols).filter(|&x| buffer.tabs[x]).collect();
    format!(
        "saved {} {} {:?} {} {}, region {} {}, tabs {tabs:?}",
        saved.x.min(cols - 1),
        saved.row().min(rows - 1),
        saved.charset,
        sgr::codes(saved.attributes, Colour::DEFAULT),
        sgr::is_protected(saved.attributes),
        buffer.top,
        buffer.bottom,
    )
}

/// Returns the cells of a row in runs of equal attributes.
///
/// `_` is an empty cell, `>` the right half of a wide character, and `<c>` a combining character
/// without a base. `~` marks a row that continues the one above.
fn row(name: &str, row: &Row, extras: &Extras) -> String {
    let mut line = format!("{name}{}", if row.wrapped { "~" } else { " " });
    let mut last = String::new();

    for &cell in row.used().iter() {
        let attributes = attributes(cell.attributes(), extras);
        if attributes != last {
            let _ = write!(line, "{{{attributes}}}");
            last = attributes;
        }

        match (cell.char(), cell.width()) {
            (None, 1) => line.push('_'),
            (None, _) => line.push('>'),
            (Some(c), 0) => {
                let _ = write!(line, "<{c}>");
            }
            (Some(c), _) => {
                line.push(c);
                line.push_str(extras.combining(cell));
            }
        }
    }

    line
}

/// Describes attributes in a readable form.
fn attributes(of: Attributes, extras: &Extras) -> String {
    let extra = extras.get(of.extra);
    let underline = extra.map_or(Colour::DEFAULT, |extra| Colour(extra.underline));
    let mut text = sgr::codes(of, underline);

    if sgr::is_protected(of) {
        text.push_str(" protected");
    }

    if let Some(link) = extra.and_then(|extra| extra.link.as_ref()) {
        let _ = write!(text, " {}={}", link.id, link.uri);
    }

    text
}
