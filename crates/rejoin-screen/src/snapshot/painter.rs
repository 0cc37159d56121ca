//! The painter of a snapshot: rows in the order in which a program would print them.

use std::io::Write as _;
use std::ops::Range;

use crate::charsets::Charset;
use crate::grid::cell::{Attributes, Cell, Colour};
use crate::grid::extras::{Extras, LinkRef};
use crate::grid::row::Row;
use crate::sgr;

/// The maximum output for a cell without attributes, with cursor movement, in bytes.
const MAX_PLAIN_CELL_BYTES: usize = 16;

/// The pen of the viewer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ViewerPen {
    attributes: Attributes,
    underline: Colour,
    link: Option<LinkRef>,
}

impl ViewerPen {
    /// Returns the pen for attributes and their extra.
    fn of(extras: &Extras, attributes: Attributes) -> Self {
        let extra = extras.get(attributes.extra);
        let underline = extra.map_or(Colour::DEFAULT, |extra| Colour(extra.underline));
        let link = extra.and_then(|extra| extra.link.clone());
        Self { attributes: attributes.plain(), underline, link }
    }
}

/// The part of a snapshot written so far, and the viewer's state after it.
#[derive(Debug)]
pub(crate) struct Painter {
    out: Vec<u8>,
    cols: usize,
    pen: ViewerPen,
    /// The maximum number of bytes per row drawn without attributes. The rest is omitted.
    plain_row_bytes: Option<usize>,
}

impl Painter {
    pub(crate) fn new(cols: usize) -> Self {
        Self { out: Vec::new(), cols, pen: ViewerPen::default(), plain_row_bytes: None }
    }

    /// Creates a painter that draws no attributes and at most `row_bytes` of each row.
    pub(super) fn plain(cols: usize, row_bytes: usize) -> Self {
        Self { plain_row_bytes: Some(row_bytes), ..Self::new(cols) }
    }

    /// Draws attributes from here on.
    pub(super) fn draw_attributes(&mut self) {
        self.plain_row_bytes = None;
    }

    pub(super) fn cols(&self) -> usize {
        self.cols
    }

    /// Returns the number of bytes since the last [`take`](Self::take).
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// Returns the bytes since the last call.
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

    /// Clears the pen. Always writes a sequence, even if the pen is already clear.
    pub(super) fn clear_pen(&mut self) {
        self.bytes(b"\x1b[m");
        self.pen = ViewerPen { link: self.pen.link.take(), ..ViewerPen::default() };
    }

    pub(super) fn background_is_set(&self) -> bool {
        self.pen.attributes.bg() != Colour::DEFAULT
    }

    /// Sets the pen to the attributes of a cell.
    pub(super) fn set_pen_of(&mut self, extras: &Extras, cell: Cell) {
        self.set_attributes(extras, cell.attributes());
    }

    /// Sets the pen to attributes and their extra.
    fn set_attributes(&mut self, extras: &Extras, attributes: Attributes) {
        let pen = ViewerPen::of(extras, attributes);
        self.set_pen(pen.attributes, pen.underline, pen.link);
    }

    /// Sets the pen. Only writes the differences from the viewer's pen.
    pub(super) fn set_pen(
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
            // A reset precedes the codes unless the viewer's pen is clear, because attributes
            // cannot be turned off one by one without knowing all of them.
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

    /// Makes the next row blank and a continuation of the cursor's row.
    ///
    /// Prints a wide character at the margin. It does not fit, so it leaves an empty cell with the
    /// pen's background and wraps to the next row, where it is erased.
    pub(super) fn continue_on_next_row(&mut self, extras: &Extras, last: Cell) {
        let full = last.has_content() || last.is_tail();
        self.set_attributes(extras, if full { Attributes::default() } else { last.attributes() });
        if !full {
            let _ = write!(self.out, "\x1b[{}G", self.cols);
        }

        self.text("\u{3000}\r");
        self.set_attributes(extras, Attributes::default());
        let _ = write!(self.out, "\x1b[{}X", self.cols);
    }

    /// Paints a row below the row `above`, or in the cursor's row if there is none.
    ///
    /// Each row comes with its own table of extras.
    pub(super) fn row(&mut self, extras: &Extras, above: Option<(&Extras, &Row)>, row: &Row) {
        let Some((above_extras, above)) = above else {
            return self.cells(extras, row);
        };

        if !row.wrapped && self.plain_row_bytes.is_none() && is_lined(above) {
            // `lined` cannot write the last cell of such a row, but a wrap leaves it behind.
            self.continue_on_next_row(above_extras, above.get(self.cols - 1));
            self.bytes(b"\x1b[2K");
            return self.cells(extras, row);
        }

        if !row.wrapped || self.plain_row_bytes.is_some() {
            // A line feed that scrolls fills the new row with the pen's background.
            if self.background_is_set() {
                self.set_attributes(extras, Attributes::default());
            }

            self.bytes(b"\r\n");
            return self.cells(extras, row);
        }

        // A continuation needs a soft wrap, which is forced if the content does not cause it.
        let first = row.get(0);
        let last = above.get(self.cols - 1);
        let plain = first.attributes().bg() == Colour::DEFAULT;
        let full = last.has_content() || last.is_tail();

        if plain && first.has_content() && first.width() > 0 && full {
            return self.cells(extras, row);
        }

        if plain && first.is_wide() && !full {
            let leftover = ViewerPen::of(extras, Cell::empty(first.attributes()).attributes());
            if leftover == ViewerPen::of(above_extras, last.attributes()) {
                let _ = write!(self.out, "\x1b[{}G", self.cols);
                return self.cells(extras, row);
            }
        }

        self.continue_on_next_row(above_extras, last);
        self.cells(extras, row);
    }

    /// Writes the cells of a blank row, from the first column or from the wrap.
    fn cells(&mut self, extras: &Extras, row: &Row) {
        let cells = row.used();
        let mut x = 0;
        let mut skipped = 0;
        let end = self.plain_row_bytes.map(|bytes| self.out.len() + bytes);

        while let Some(&cell) = cells.get(x) {
            if end.is_some_and(|end| self.out.len() + MAX_PLAIN_CELL_BYTES > end) {
                return;
            }

            if cell.is_tail() {
                x += 1;
                continue;
            }

            if cell.is_lined() && self.plain_row_bytes.is_none() {
                let run = cells[x..].iter().take_while(|next| next.is_lined()).count();
                self.forward(&mut skipped);
                self.lined(extras, &cells, x..x + run);
                x += run;
                continue;
            }

            if !cell.has_content() {
                let run = cells[x..].iter().take_while(|&&next| next == cell).count();
                // Uses ECH to give empty cells their background. Spaces would be content, which can
                // be selected and rewraps differently.
                if cell != Cell::BLANK && self.plain_row_bytes.is_none() {
                    self.forward(&mut skipped);
                    self.set_attributes(extras, cell.attributes());
                    let _ = write!(self.out, "\x1b[{run}X");
                }

                skipped += run;
                x += run;
                continue;
            }

            self.forward(&mut skipped);
            if end.is_none() && cell.ascii().is_some() {
                x += self.ascii(extras, &cells[x..]);
                continue;
            }

            self.cell(extras, cell);
            x += 1;
        }
    }

    /// Writes a run of empty cells that are inverse or have lines.
    ///
    /// Only overwriting one half of a wide character leaves such a cell. Leaves the cursor after
    /// the run, or in its last cell at the margin. If the run fills the row and its last two cells
    /// have different attributes, ends it with a space.
    fn lined(&mut self, extras: &Extras, cells: &[Cell], run: Range<usize>) {
        if run.end < self.cols || run.start == 0 {
            let end = run.end;
            for x in run {
                self.set_attributes(extras, cells[x].attributes());
                if x + 1 == self.cols {
                    return self.bytes(b" ");
                }

                let next = x + 2;
                if next == end
                    && end == self.cols
                    && cells[x].attributes() == cells[x + 1].attributes()
                {
                    // Without autowrap, a wide character at the margin is not printed, but it
                    // empties both halves of the character below it.
                    let _ = write!(self.out, "\u{3000}\x1b[?7l\x1b[{next}G\u{3000}\x1b[?7h");
                    return;
                }

                let _ = write!(self.out, "\u{3000}\x1b[{next}G \x1b[{next}G");
                self.set_attributes(extras, Attributes::default());
                self.bytes(b"\x1b[X");
            }

            return;
        }

        // Writes a run at the margin backwards. The left halves are overwritten, the last one in
        // the cell before the run, which is then rewritten.
        for x in run.clone().rev() {
            self.set_attributes(extras, cells[x].attributes());
            let _ = write!(self.out, "\x1b[{x}G\u{3000}\x1b[{x}G ");
        }

        let before = run.start - 1 - usize::from(cells[run.start - 1].is_tail());
        let cell = cells[before];
        let _ = write!(self.out, "\x1b[{}G", before + 1);
        if cell.has_content() {
            self.cell(extras, cell);
        } else {
            self.set_attributes(extras, cell.attributes());
            self.bytes(b"\x1b[X");
        }

        let _ = write!(self.out, "\x1b[{}G", self.cols);
    }

    /// Writes the leading ASCII characters with the first cell's attributes. Returns their number.
    fn ascii(&mut self, extras: &Extras, cells: &[Cell]) -> usize {
        let attributes = cells[0].attributes();
        self.set_attributes(extras, attributes);
        let start = self.out.len();
        let equal = cells.iter().take_while(|cell| cell.attributes() == attributes);
        self.out.extend(equal.map_while(|cell| cell.ascii()));
        self.out.len() - start
    }

    /// Moves the cursor over skipped columns.
    fn forward(&mut self, columns: &mut usize) {
        match std::mem::take(columns) {
            0 => {}
            1 => self.bytes(b"\x1b[C"),
            columns => {
                let _ = write!(self.out, "\x1b[{columns}C");
            }
        }
    }

    /// Writes one cell: the pen, the character and its combining characters.
    pub(super) fn cell(&mut self, extras: &Extras, cell: Cell) {
        self.set_attributes(extras, cell.attributes());
        if cell.width() == 0 {
            // A combining character without a base combines with nothing after a sequence.
            self.clear_pen();
            self.set_attributes(extras, cell.attributes());
        }

        self.characters(extras, cell, cell.char());
    }

    /// Writes a cell's characters without setting the pen. Writes the first one as `typed`.
    pub(super) fn characters(&mut self, extras: &Extras, cell: Cell, typed: Option<char>) {
        let c = typed.unwrap_or(' ');
        self.out.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
        if self.plain_row_bytes.is_none() {
            self.out.extend(extras.combining(cell).as_bytes());
        }
    }
}

/// Returns `true` if a row consists of empty cells that are inverse or have lines.
fn is_lined(row: &Row) -> bool {
    row.stored().len() == row.len() && row.stored().iter().all(|cell| cell.is_lined())
}
