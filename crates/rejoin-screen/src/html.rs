//! The visible screen as a piece of HTML that needs nothing beside it.

use std::fmt::Write as _;

use crate::grid::cell::{Attributes, Cell, Colour, Flags};
use crate::grid::extras::LinkRef;
use crate::grid::row::Row;
use crate::terminal::Terminal;
use crate::terminal::palette::{BACKGROUND, FOREGROUND, default_colour};

/// Colours of the 16 that bold text is drawn in the bright half of.
const DARK: u32 = 8;

/// The visible screen as a `<pre>`, written row by row.
///
/// What a program printed can be nothing but text, colours and links to `http://` and `https://`.
pub(crate) fn begin(out: &mut String, terminal: &Terminal) {
    let (text, ground) = (hex(numbered(terminal, FOREGROUND)), hex(numbered(terminal, BACKGROUND)));
    // Characters stand in the order of their columns, as in the viewers' terminal.
    let _ = write!(
        out,
        "<pre style=\"margin:0;padding:.5em;overflow:auto;color:{text};background:{ground};\
         font-family:ui-monospace,monospace;line-height:1.2;direction:ltr;\
         unicode-bidi:bidi-override\">"
    );
}

/// What follows the last row.
pub(crate) fn end(out: &mut String) {
    out.push_str("</pre>");
}

/// Writes one row.
pub(crate) fn row(out: &mut String, terminal: &Terminal, row: &Row) {
    let cells = row.used();
    let mut cells = &cells[..];
    while let Some((&first, _)) = cells.split_first() {
        let look = Look::of(terminal, first.attributes());
        // Nearly always, cells of one look have the same attributes.
        let same = |cell: &&Cell| {
            cell.attributes() == first.attributes() || Look::of(terminal, cell.attributes()) == look
        };
        let (run, rest) = cells.split_at(cells.iter().take_while(same).count());
        cells = rest;
        let mut text = String::new();
        for &cell in run.iter().filter(|cell| !cell.is_tail()) {
            write_cell(&mut text, terminal, cell);
        }
        if rest.is_empty() && look == Look::default() {
            text.truncate(text.trim_end_matches(' ').len());
        }
        look.wrap(out, &text);
    }
}

fn write_cell(text: &mut String, terminal: &Terminal, cell: Cell) {
    if cell.is_wide() {
        text.push_str("<span style=\"display:inline-block;width:2ch\">");
    }
    escape(text, cell.char().unwrap_or(' '));
    terminal.extras.combining(cell).chars().for_each(|c| escape(text, c));
    if cell.is_wide() {
        text.push_str("</span>");
    }
}

/// What is seen of attributes; nothing: as the screen's own colours.
#[derive(Debug, Default, PartialEq, Eq)]
struct Look {
    style: String,
    link: Option<LinkRef>,
}

impl Look {
    fn of(terminal: &Terminal, attributes: Attributes) -> Self {
        let extra = terminal.extras.get(attributes.extra);
        let underline = extra.map_or(Colour::DEFAULT, |extra| Colour(extra.underline));
        let link = extra.and_then(|extra| extra.link.clone());
        let link = link.filter(|link| is_web(&link.uri));
        Self { style: style(terminal, attributes, underline), link }
    }

    fn wrap(&self, out: &mut String, text: &str) {
        if let Some(link) = &self.link {
            out.push_str("<a target=\"_blank\" rel=\"noopener noreferrer\" href=\"");
            link.uri.chars().for_each(|c| escape(out, c));
            let _ = write!(out, "\" style=\"color:inherit;{}\">{text}</a>", self.style);
        } else if self.style.is_empty() {
            out.push_str(text);
        } else {
            let _ = write!(out, "<span style=\"{}\">{text}</span>", self.style);
        }
    }
}

fn style(terminal: &Terminal, attributes: Attributes, underline: Colour) -> String {
    let flags = attributes.flags();
    let is_bold = flags.has(Flags::BOLD);
    let mut text = colour(terminal, attributes.fg(), FOREGROUND, is_bold);
    let mut ground = colour(terminal, attributes.bg(), BACKGROUND, false);
    if flags.has(Flags::INVERSE) {
        std::mem::swap(&mut text, &mut ground);
    }
    if flags.has(Flags::DIM) {
        for (part, other) in text.iter_mut().zip(ground) {
            *part = part.midpoint(other);
        }
    }
    if flags.has(Flags::HIDDEN) {
        text = ground;
    }
    let mut out = String::new();
    if text != numbered(terminal, FOREGROUND) {
        let _ = write!(out, "color:{};", hex(text));
    }
    if ground != numbered(terminal, BACKGROUND) {
        let _ = write!(out, "background:{};", hex(ground));
    }
    if is_bold {
        out.push_str("font-weight:bold;");
    }
    if flags.has(Flags::ITALIC) {
        out.push_str("font-style:italic;");
    }
    let lines = [
        (flags.underline() > 0, " underline"),
        (flags.has(Flags::OVERLINE), " overline"),
        (flags.has(Flags::STRIKE), " line-through"),
    ];
    let lines: String = lines.iter().filter(|(drawn, _)| *drawn).map(|(_, line)| *line).collect();
    if !lines.is_empty() {
        let shape = ["", "", " double", " wavy", " dotted", " dashed"];
        let shape = shape.get(flags.underline() as usize).unwrap_or(&"");
        let _ = write!(out, "text-decoration:{}{shape}", lines.trim_start());
        if underline != Colour::DEFAULT {
            let _ = write!(out, " {}", hex(colour(terminal, underline, FOREGROUND, false)));
        }
        out.push(';');
    }
    out
}

fn colour(terminal: &Terminal, colour: Colour, default: usize, is_bold: bool) -> [u8; 3] {
    match (colour.mode(), colour.value()) {
        (0, _) => numbered(terminal, default),
        (1, value) if is_bold && value < DARK => numbered(terminal, (value + DARK) as usize),
        (1 | 2, value) => numbered(terminal, value as usize),
        (_, value) => {
            let [_, r, g, b] = value.to_be_bytes();
            [r, g, b]
        }
    }
}

fn numbered(terminal: &Terminal, index: usize) -> [u8; 3] {
    terminal.palette.get(&index).copied().unwrap_or_else(|| default_colour(index))
}

fn hex([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

fn is_web(uri: &str) -> bool {
    let begins = |scheme: &str| {
        uri.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    begins("http://") || begins("https://")
}

fn escape(out: &mut String, c: char) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&quot;"),
        '\'' => out.push_str("&#39;"),
        c if c.is_control() => out.push('\u{fffd}'),
        c => out.push(c),
    }
}
