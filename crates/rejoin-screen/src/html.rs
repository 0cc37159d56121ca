//! The visible screen as a self-contained HTML element.

use std::fmt::Write as _;

use crate::grid::cell::{Attributes, Cell, Colour, Flags};
use crate::grid::extras::LinkRef;
use crate::grid::row::Row;
use crate::terminal::Terminal;
use crate::terminal::palette::{BACKGROUND, FOREGROUND, default_colour};

/// The number of dark basic colours. Bold text in one of them gets its bright variant.
const DARK: u32 = 8;

/// Writes the start of the `<pre>` element. The rows follow.
///
/// Security: the output of a program is untrusted. It can only become text, colours, and links to
/// `http://` and `https://`.
pub(crate) fn begin(out: &mut String, terminal: &Terminal) {
    let (text, background) =
        (hex(palette_colour(terminal, FOREGROUND)), hex(palette_colour(terminal, BACKGROUND)));
    // A terminal has fixed columns, so the browser must not reorder right-to-left text.
    let _ = write!(
        out,
        "<pre style=\"margin:0;padding:.5em;overflow:auto;color:{text};background:{background};\
         font-family:ui-monospace,monospace;line-height:1.2;direction:ltr;\
         unicode-bidi:bidi-override\">"
    );
}

/// Writes the end of the element, after the last row.
pub(crate) fn end(out: &mut String) {
    out.push_str("</pre>");
}

/// Writes one row.
pub(crate) fn row(out: &mut String, terminal: &Terminal, row: &Row) {
    let cells = row.used();
    let mut cells = &cells[..];

    while let Some((&first, _)) = cells.split_first() {
        let style = HtmlStyle::of(terminal, first.attributes());
        // Compares attributes first, which is faster: cells of one style nearly always share them.
        let same = |cell: &&Cell| {
            cell.attributes() == first.attributes()
                || HtmlStyle::of(terminal, cell.attributes()) == style
        };

        let (run, rest) = cells.split_at(cells.iter().take_while(same).count());
        cells = rest;
        let mut text = String::new();

        for &cell in run.iter().filter(|cell| !cell.is_tail()) {
            write_cell(&mut text, terminal, cell);
        }

        // Drops trailing blanks unless they are visible.
        if rest.is_empty() && style == HtmlStyle::default() {
            text.truncate(text.trim_end_matches(' ').len());
        }

        style.wrap(out, &text);
    }
}

fn write_cell(text: &mut String, terminal: &Terminal, cell: Cell) {
    // Fonts differ in the width of wide glyphs, so columns would shift without a fixed width.
    if cell.is_wide() {
        text.push_str("<span style=\"display:inline-block;width:2ch\">");
    }

    escape(text, cell.char().unwrap_or(' '));
    terminal.extras.combining(cell).chars().for_each(|c| escape(text, c));
    if cell.is_wide() {
        text.push_str("</span>");
    }
}

/// The visible effect of attributes. The default uses the screen's own colours.
#[derive(Debug, Default, PartialEq, Eq)]
struct HtmlStyle {
    css: String,
    link: Option<LinkRef>,
}

impl HtmlStyle {
    fn of(terminal: &Terminal, attributes: Attributes) -> Self {
        let extra = terminal.extras.get(attributes.extra);
        let underline = extra.map_or(Colour::DEFAULT, |extra| Colour(extra.underline));
        let link = extra.and_then(|extra| extra.link.clone());
        let link = link.filter(|link| is_web(&link.uri));
        Self { css: css(terminal, attributes, underline), link }
    }

    fn wrap(&self, out: &mut String, text: &str) {
        if let Some(link) = &self.link {
            out.push_str("<a target=\"_blank\" rel=\"noopener noreferrer\" href=\"");
            link.uri.chars().for_each(|c| escape(out, c));
            let _ = write!(out, "\" style=\"color:inherit;{}\">{text}</a>", self.css);
        } else if self.css.is_empty() {
            out.push_str(text);
        } else {
            let _ = write!(out, "<span style=\"{}\">{text}</span>", self.css);
        }
    }
}

/// Returns the CSS declarations of attributes.
fn css(terminal: &Terminal, attributes: Attributes, underline: Colour) -> String {
    let flags = attributes.flags();
    let is_bold = flags.has(Flags::BOLD);
    let mut text = colour(terminal, attributes.fg(), FOREGROUND, is_bold);
    let mut background = colour(terminal, attributes.bg(), BACKGROUND, false);

    // The order matters: viewers apply inverse before dim before hidden.
    if flags.has(Flags::INVERSE) {
        std::mem::swap(&mut text, &mut background);
    }

    if flags.has(Flags::DIM) {
        for (part, other) in text.iter_mut().zip(background) {
            *part = part.midpoint(other);
        }
    }

    if flags.has(Flags::HIDDEN) {
        text = background;
    }

    let mut out = String::new();
    if text != palette_colour(terminal, FOREGROUND) {
        let _ = write!(out, "color:{};", hex(text));
    }

    if background != palette_colour(terminal, BACKGROUND) {
        let _ = write!(out, "background:{};", hex(background));
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
        (0, _) => palette_colour(terminal, default),
        (1, value) if is_bold && value < DARK => palette_colour(terminal, (value + DARK) as usize),
        (1 | 2, value) => palette_colour(terminal, value as usize),
        (_, value) => {
            let [_, r, g, b] = value.to_be_bytes();
            [r, g, b]
        }
    }
}

/// Returns a palette colour, as the program or the theme defines it.
fn palette_colour(terminal: &Terminal, index: usize) -> [u8; 3] {
    terminal.palette.get(&index).copied().unwrap_or_else(|| default_colour(index))
}

fn hex([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// Returns `true` if a link is safe. `javascript:` and other schemes must not become links.
fn is_web(uri: &str) -> bool {
    let begins = |scheme: &str| {
        uri.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    begins("http://") || begins("https://")
}

/// Appends a character as HTML text or attribute value.
fn escape(out: &mut String, c: char) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&quot;"),
        '\'' => out.push_str("&#39;"),
        // Cells contain no control characters, but the URI of a link may.
        c if c.is_control() => out.push('\u{fffd}'),
        c => out.push(c),
    }
}
