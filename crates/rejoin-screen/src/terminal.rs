//! The terminal that the parsed output acts on; it behaves as the viewers' terminal does.

use std::collections::BTreeMap;

use crate::grid::buffer::Buffer;
use crate::grid::cell::Cell;
use crate::grid::extras::Extras;
use crate::grid::history::ScrollbackLimits;
use crate::grid::reflow::Reflow;
use crate::parser::{Actions, Params, Terminator};
use charsets::Charsets;
use modes::Modes;
use pen::Pen;

mod answers;
pub(crate) mod charsets;
mod cursor;
mod edit;
mod escape;
pub(crate) mod modes;
mod osc;
pub(crate) mod palette;
pub(crate) mod pen;
mod print;
mod resize;
mod sgr;

/// Titles that programs put aside; the oldest is forgotten, as in viewers.
const TITLES: usize = 10;

/// Cells that one step of interpretation changes, roughly: well below a millisecond.
pub(crate) const STEP_WORK: usize = 16 * 1024;
/// Bytes of a title; of a longer one the beginning is kept.
const TITLE_LIMIT: usize = 1024;

/// The state of a terminal.
#[derive(Clone, Debug)]
pub(crate) struct Terminal {
    pub(crate) cols: usize,
    pub(crate) rows: usize,
    pub(crate) normal: Buffer,
    pub(crate) alternate: Buffer,
    pub(crate) modes: Modes,
    pub(crate) pen: Pen,
    pub(crate) charsets: Charsets,
    pub(crate) extras: Extras,
    pub(crate) title: String,
    pub(crate) titles: Vec<String>,
    /// Colours that programs changed, by number; 256 and on: text, background, cursor.
    pub(crate) palette: BTreeMap<usize, [u8; 3]>,
    /// Width of the character printed just before, 0 if anything came after it.
    ///
    /// Only such a character is combined with the next one, and repeated by REP.
    pub(crate) preceding: usize,
    pub(crate) answers: Vec<u8>,
    /// Cells that were changed since the last [`Self::rest`], roughly.
    work: usize,
    /// A change of columns that is under way; the normal buffer has no rows meanwhile.
    reflow: Option<Box<Reflow>>,
}

impl Terminal {
    pub(crate) fn new(cols: usize, rows: usize, limits: ScrollbackLimits) -> Self {
        let mut alternate = Buffer::new(cols, rows, ScrollbackLimits::default());
        alternate.hide(cols, rows);
        Self {
            cols,
            rows,
            normal: Buffer::new(cols, rows, limits),
            alternate,
            modes: Modes::default(),
            pen: Pen::default(),
            charsets: Charsets::default(),
            extras: Extras::default(),
            title: String::new(),
            titles: Vec::new(),
            palette: BTreeMap::new(),
            preceding: 0,
            answers: Vec::new(),
            work: 0,
            reflow: None,
        }
    }

    /// Begins the next step.
    pub(crate) fn rest(&mut self) {
        self.work = 0;
    }

    /// RIS. The title and the colours stay, as in viewers.
    fn reset(&mut self) {
        let limits = self.normal.history.limits();
        let fresh = Self::new(self.cols, self.rows, limits);
        let old = std::mem::replace(self, fresh);
        self.modes = old.modes.after_reset();
        self.title = old.title;
        self.titles = old.titles;
        self.palette = old.palette;
        self.answers = old.answers;
        self.work = old.work + self.rows;
    }

    pub(crate) fn buffer(&self) -> &Buffer {
        if self.modes.alternate { &self.alternate } else { &self.normal }
    }

    pub(crate) fn buffer_mut(&mut self) -> &mut Buffer {
        if self.modes.alternate { &mut self.alternate } else { &mut self.normal }
    }

    /// The character that the next one may be combined with, and its column.
    pub(crate) fn last_printed(&self) -> Option<(usize, Cell)> {
        let buffer = self.buffer();
        let x = buffer.x.checked_sub(self.preceding).filter(|_| self.preceding > 0)?;
        let cell = buffer.rows[buffer.y].get(x);
        // After a change of size it may be another one than was printed.
        let printed = cell.width() == self.preceding
            && cell.char().is_some_and(|c| self.charsets.map(c) == c);
        let attributes = cell.attributes();
        let same = attributes.plain() == self.pen.attributes.plain()
            && self.extras.same_style(attributes.extra, self.pen.attributes.extra);
        (printed && same).then_some((x, cell))
    }

    /// The cell that erasing leaves: empty, in the background of the pen.
    fn erased(&self) -> Cell {
        Cell::empty(self.pen.attributes.erased())
    }

    /// Frees extras that no cell has; cheap enough to be called after each piece of output.
    pub(crate) fn sweep(&mut self) {
        if !self.extras.wants_sweep(self.rows) {
            return;
        }
        let rows = self.normal.rows.iter().chain(&self.alternate.rows);
        let cells = rows.flat_map(|row| row.stored().iter().map(|cell| cell.extra()));
        self.extras.sweep(cells.chain([self.pen.attributes.extra]));
    }
}

impl Actions for Terminal {
    fn is_tired(&self) -> bool {
        self.work >= STEP_WORK
    }

    fn print_ascii(&mut self, text: &[u8]) {
        self.print_text(text);
    }

    fn print(&mut self, c: char) {
        self.print_char(c);
    }

    fn control(&mut self, code: u8) {
        match code {
            0x08 => self.backspace(),
            0x09 => self.tab(),
            0x0a..=0x0c => self.line_feed(),
            0x0d => self.buffer_mut().x = 0,
            0x0e => self.charsets.shift(1),
            0x0f => self.charsets.shift(0),
            0x84 => self.index(),
            0x85 => self.next_line(),
            0x88 => self.set_tab(),
            _ => {}
        }
        self.preceding = 0;
    }

    fn csi(&mut self, collected: &[u8], params: &Params, last: u8) {
        self.work += 1;
        self.control_sequence(collected, params, last);
        self.preceding = 0;
    }

    fn escape(&mut self, collected: &[u8], last: u8) {
        self.escape_sequence(collected, last);
        self.preceding = 0;
    }

    fn osc(&mut self, payload: &str, terminator: Terminator) {
        self.work += payload.len();
        self.operating_system_command(payload, terminator);
    }

    fn dcs(&mut self, collected: &[u8], params: &Params, last: u8, payload: &str) {
        if params.get(0) == 0 {
            self.device_control(collected, last, payload);
        }
    }
}
