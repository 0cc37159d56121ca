//! The terminal: the state that parsed output changes, with the behaviour of xterm.js.

use std::collections::BTreeMap;

use crate::charsets::Charsets;
use crate::grid::buffer::Buffer;
use crate::grid::cell::Cell;
use crate::grid::extras::Extras;
use crate::grid::history::ScrollbackLimits;
use crate::grid::reflow::Reflow;
use crate::parser::{Params, SequenceHandler, Terminator};
use keyboard::Keyboard;
use modes::Modes;
use pen::Pen;

mod answers;
mod cursor;
mod edit;
mod escape;
pub(crate) mod keyboard;
pub(crate) mod modes;
mod osc;
pub(crate) mod palette;
pub(crate) mod pen;
mod print;
mod resize;
mod sgr;

/// The maximum number of saved titles. Like xterm.js, drops the oldest.
const MAX_SAVED_TITLES: usize = 10;

/// The approximate number of cells that one step changes: well below a millisecond of work.
///
/// Bounds the delay that a terminal causes for others on the same thread.
pub(crate) const STEP_WORK: usize = 16 * 1024;
/// The maximum length of a title, in bytes. Longer ones are truncated.
const TITLE_LIMIT: usize = 1024;

/// The state of a terminal.
#[derive(Clone, Debug)]
pub(crate) struct Terminal {
    pub(crate) cols: usize,
    pub(crate) rows: usize,
    pub(crate) normal: Buffer,
    pub(crate) alternate: Buffer,
    pub(crate) modes: Modes,
    pub(crate) keyboard: Keyboard,
    pub(crate) pen: Pen,
    pub(crate) charsets: Charsets,
    pub(crate) extras: Extras,
    pub(crate) title: String,
    /// The saved titles, newest last.
    pub(crate) titles: Vec<String>,
    /// The changed colours by number. 256 to 258 are text, background and cursor.
    pub(crate) palette: BTreeMap<usize, [u8; 3]>,
    /// The width of the last printed character, or 0 if anything followed it.
    ///
    /// Only while it is not 0 can the next character combine with that one, or REP repeat it.
    pub(crate) preceding: usize,
    pub(crate) answers: Vec<u8>,
    /// The approximate number of cells changed since the last [`Self::begin_step`].
    work: usize,
    /// The number of changes of columns, each of which renumbers the lines of the history.
    pub(crate) rewraps: u32,
    /// A pending change of columns, which owns the rows of the normal buffer until it is done.
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
            keyboard: Keyboard::default(),
            pen: Pen::default(),
            charsets: Charsets::default(),
            extras: Extras::default(),
            title: String::new(),
            titles: Vec::new(),
            palette: BTreeMap::new(),
            preceding: 0,
            answers: Vec::new(),
            work: 0,
            rewraps: 0,
            reflow: None,
        }
    }

    /// Starts a step by resetting the count of work.
    pub(crate) fn begin_step(&mut self) {
        self.work = 0;
    }

    /// Executes a full reset (RIS). As in xterm.js, keeps the title and the colours.
    fn reset(&mut self) {
        // Drops the history as well, as in xterm.js.
        let limits = self.normal.history.limits();
        let fresh = Self::new(self.cols, self.rows, limits);
        let mut old = std::mem::replace(self, fresh);
        old.normal.history.clear();
        self.normal.history = old.normal.history;
        self.rewraps = old.rewraps;
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

    /// Returns the column and the cell of the character that the next one may combine with.
    pub(crate) fn last_printed(&self) -> Option<(usize, Cell)> {
        let buffer = self.buffer();
        let x = buffer.x.checked_sub(self.preceding).filter(|_| self.preceding > 0)?;
        let cell = buffer.rows[buffer.y].get(x);
        // After a change of size, the cell may be a different one.
        let printed = cell.width() == self.preceding
            && cell.char().is_some_and(|c| self.charsets.typed(c).is_some());

        let attributes = cell.attributes();
        let same = attributes.plain() == self.pen.attributes.plain()
            && self.extras.same_style(attributes.extra, self.pen.attributes.extra);

        (printed && same).then_some((x, cell))
    }

    /// Returns the cell that erasing leaves: empty, with the background of the pen.
    fn erased_cell(&self) -> Cell {
        Cell::empty(self.pen.attributes.erased())
    }

    /// Frees unused extras. Cheap enough to be called after each piece of output.
    pub(crate) fn sweep(&mut self) {
        if !self.extras.wants_sweep(self.rows) {
            return;
        }

        // Does not visit the history, whose packed lines do not refer to the table.
        let rows = self.normal.rows.iter().chain(&self.alternate.rows);
        let cells = rows.flat_map(|row| row.stored().iter().chain(row.hidden()));
        let cells = cells.map(|cell| cell.extra());
        self.extras.sweep(cells.chain([self.pen.attributes.extra]));
    }
}

impl SequenceHandler for Terminal {
    fn should_pause(&self) -> bool {
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
        // One unit covers the parsing. Functions that touch many cells add their own.
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
        // None of the known queries takes parameters.
        if params.get(0) == 0 {
            self.device_control(collected, last, payload);
        }
    }
}
