//! Paints rows in the order in which a program would have printed them.

use std::io::Write as _;

use super::sgr;
use crate::grid::cell::{Attributes, Cell, Colour};
use crate::grid::extras::{Extras, LinkRef};
use crate::grid::row::Row;
use crate::terminal::charsets::Charset;

/// Bytes of a cell without attributes at most, with the way to it.
const LAST_CELL_BYTES: usize = 16;

/// What the viewer's pen is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Style {
    attributes: Attributes,
    underline: Colour,
    link: Option<LinkRef>,
}

/// The snapshot as far as it is written, and what the viewer is like then.
#[derive(Debug)]
pub(crate) struct Painter {
    out: Vec<u8>,
    cols: usize,
    pen: Style,
    /// Bytes of a row that is drawn without attributes; its end is left out.
    plain_row_bytes: Option<usize>,
}

impl Painter {
    pub(crate) fn new(cols: usize) -> Self {
        Self { out: Vec::new(), cols, pen: Style::default(), plain_row_bytes: None }
    }

    /// Draws without attributes, and of each row only so many bytes.
    pub(super) fn plain(cols: usize, row_bytes: usize) -> Self {
        Self { plain_row_bytes: Some(row_bytes), ..Self::new(cols) }
    }

    /// From here on draws with attributes.
    pub(super) fn draw_attributes(&mut self) {
        self.plain_row_bytes = None;
    }

    /// Bytes that were painted since the last [`take`](Self::take).
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// What was painted since the last call.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend(bytes);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.out.extend(text.as_bytes());
    }

    pub(super) fn go_to(&mut self, x: usize, y: usize) {
        let _ = write!(self.out, "\x1b[{};{}H", y + 1, x + 1);
    }

    pub(super) fn designate(&mut self, slot: usize, charset: Charset) {
        let intermediate = ['(', ')', '*', '+'][slot];
        let _ = write!(self.out, "\x1b{intermediate}{}", charset.designator());
    }

    /// Clears the pen, by a sequence in any case.
    pub(super) fn clear_pen(&mut self) {
        self.bytes(b"\x1b[m");
        self.pen = Style { link: self.pen.link.take(), ..Style::default() };
    }

    pub(super) fn background_is_set(&self) -> bool {
        self.pen.attributes.bg() != Colour::DEFAULT
    }

    /// Draws what follows as the cell is.
    pub(super) fn cell_pen(&mut self, extras: &Extras, cell: Cell) {
        self.pen(extras, cell.attributes());
    }

    /// Draws what follows so.
    fn pen(&mut self, extras: &Extras, attributes: Attributes) {
        let extra = extras.get(attributes.extra);
        let underline = extra.map_or(Colour::DEFAULT, |extra| Colour(extra.underline));
        let link = extra.and_then(|extra| extra.link.clone());
        self.style(attributes, underline, link);
    }

    pub(super) fn style(
        &mut self,
        attributes: Attributes,
        underline: Colour,
        link: Option<LinkRef>,
    ) {
        if self.plain_row_bytes.is_some() {
            return;
        }
        let attributes = attributes.plain();
        if (attributes, underline) != (self.pen.attributes, self.pen.underline) {
            let codes = sgr::codes(attributes, underline);
            let fresh = (self.pen.attributes, self.pen.underline) == Default::default();
            match codes.strip_prefix(';') {
                None => self.bytes(b"\x1b[m"),
                Some(codes) if fresh => {
                    let _ = write!(self.out, "\x1b[{codes}m");
                }
                Some(codes) => {
                    let _ = write!(self.out, "\x1b[0;{codes}m");
                }
            }
            if sgr::is_protected(attributes) {
                self.bytes(b"\x1b[1\"q");
            }
            (self.pen.attributes, self.pen.underline) = (attributes, underline);
        }
        if link != self.pen.link {
            match &link {
                None => self.bytes(b"\x1b]8;;\x07"),
                Some(link) if link.id.is_empty() => {
                    let _ = write!(self.out, "\x1b]8;;{}\x07", link.uri);
                }
                Some(link) => {
                    let _ = write!(self.out, "\x1b]8;id={};{}\x07", link.id, link.uri);
                }
            }
            self.pen.link = link;
        }
    }

    /// Makes the next row, which is left blank, one that continues the row of the cursor.
    ///
    /// A wide character that does not fit leaves an empty cell with the pen's
    /// background at the margin, and goes to the next row, where it is erased.
    pub(super) fn continue_on_next_row(&mut self, extras: &Extras, last: Cell) {
        let full = last.has_content() || last.is_tail();
        self.pen(extras, if full { Attributes::default() } else { last.attributes() });
        if !full {
            let _ = write!(self.out, "\x1b[{}G", self.cols);
        }
        self.text("\u{3000}\r");
        self.pen(extras, Attributes::default());
        let _ = write!(self.out, "\x1b[{}X", self.cols);
    }

    /// Paints a row below the one `above`, or on the row of the cursor if there is none.
    pub(super) fn row(&mut self, extras: &Extras, above: Option<&Row>, row: &Row) {
        let Some(above) = above else {
            return self.cells(extras, row);
        };
        if !row.wrapped || self.plain_row_bytes.is_some() {
            // A new row takes the background of the pen.
            if self.background_is_set() {
                self.pen(extras, Attributes::default());
            }
            self.bytes(b"\r\n");
            return self.cells(extras, row);
        }
        let first = row.get(0);
        let last = above.get(self.cols - 1);
        let plain = first.attributes().bg() == Colour::DEFAULT;
        let full = last.has_content() || last.is_tail();
        if plain && first.has_content() && first.width() > 0 && full {
            return self.cells(extras, row);
        }
        if plain && first.is_wide() && last == Cell::empty(first.attributes()) {
            let _ = write!(self.out, "\x1b[{}G", self.cols);
            return self.cells(extras, row);
        }
        self.continue_on_next_row(extras, last);
        self.cells(extras, row);
    }

    /// Writes the cells of a row that is blank, from its first column or from where it is continued.
    fn cells(&mut self, extras: &Extras, row: &Row) {
        let cells = row.used();
        let mut x = 0;
        let mut skipped = 0;
        let end = self.plain_row_bytes.map(|bytes| self.out.len() + bytes);
        while let Some(&cell) = cells.get(x) {
            if end.is_some_and(|end| self.out.len() + LAST_CELL_BYTES > end) {
                return;
            }
            if cell.is_tail() {
                x += 1;
                continue;
            }
            if !cell.has_content() {
                let run = cells[x..].iter().take_while(|&&next| next == cell).count();
                if cell != Cell::BLANK && self.plain_row_bytes.is_none() {
                    self.forward(&mut skipped);
                    self.pen(extras, cell.attributes());
                    let _ = write!(self.out, "\x1b[{run}X");
                }
                skipped += run;
                x += run;
                continue;
            }
            self.forward(&mut skipped);
            self.cell(extras, cell);
            x += 1;
        }
    }

    fn forward(&mut self, columns: &mut usize) {
        match std::mem::take(columns) {
            0 => {}
            1 => self.bytes(b"\x1b[C"),
            columns => {
                let _ = write!(self.out, "\x1b[{columns}C");
            }
        }
    }

    /// Writes one character with all that is combined with it.
    pub(super) fn cell(&mut self, extras: &Extras, cell: Cell) {
        self.pen(extras, cell.attributes());
        if cell.width() == 0 {
            // After a control sequence it is combined with nothing.
            self.clear_pen();
            self.pen(extras, cell.attributes());
        }
        self.characters(extras, cell);
    }

    pub(super) fn characters(&mut self, extras: &Extras, cell: Cell) {
        let c = cell.char().unwrap_or(' ');
        self.out.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
        if self.plain_row_bytes.is_none() {
            self.out.extend(extras.combining(cell).as_bytes());
        }
    }
}
