//! The modes that programs set and reset (SM, RM, DECSET, DECRST, DECRQM).

use super::Terminal;
use crate::grid::buffer::blank_rows;
use crate::parser::Params;

/// The mouse events to report: none, or those of mode 9 (X10), 1000, 1002 or 1003.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mouse {
    #[default]
    Off,
    Reported(i32),
}

impl Mouse {
    /// Returns the number of the active mode.
    pub(crate) fn mode(self) -> Option<i32> {
        match self {
            Self::Off => None,
            Self::Reported(mode) => Some(mode),
        }
    }
}

/// All modes. The default is that of a new terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Modes {
    pub(crate) alternate: bool,
    pub(crate) application_cursor: bool,
    pub(crate) application_keypad: bool,
    pub(crate) autowrap: bool,
    pub(crate) bracketed_paste: bool,
    pub(crate) cursor_blink: bool,
    pub(crate) cursor_hidden: bool,
    /// The shape of the cursor (DECSCUSR), at most 8. 0 is the viewer's default. 7 and 8 are the
    /// viewer's default shape, blinking and steady.
    pub(crate) cursor_style: i32,
    pub(crate) focus: bool,
    pub(crate) insert: bool,
    pub(crate) line_feed: bool,
    pub(crate) mouse: Mouse,
    /// The encoding of mouse events: mode 1006 or 1016, or 0 for the default.
    pub(crate) mouse_encoding: i32,
    pub(crate) origin: bool,
    pub(crate) reverse_wrap: bool,
    pub(crate) synchronized: bool,
}

impl Default for Modes {
    fn default() -> Self {
        Self {
            alternate: false,
            application_cursor: false,
            application_keypad: false,
            autowrap: true,
            bracketed_paste: false,
            cursor_blink: false,
            cursor_hidden: false,
            cursor_style: 0,
            focus: false,
            insert: false,
            line_feed: false,
            mouse: Mouse::Off,
            mouse_encoding: 0,
            origin: false,
            reverse_wrap: false,
            synchronized: false,
        }
    }
}

impl Modes {
    /// Returns the modes after a full reset (RIS).
    ///
    /// xterm.js treats three of them as settings and keeps them.
    pub(super) fn after_reset(&self) -> Self {
        Self {
            cursor_blink: self.cursor_blink,
            cursor_hidden: self.cursor_hidden,
            line_feed: self.line_feed,
            ..Self::default()
        }
    }

    /// Resets the modes that a soft reset affects (DECSTR).
    pub(super) fn soft_reset(&mut self) {
        // xterm.js keeps these five.
        *self = Self {
            alternate: self.alternate,
            cursor_blink: self.cursor_blink,
            line_feed: self.line_feed,
            mouse: self.mouse,
            mouse_encoding: self.mouse_encoding,
            ..Self::default()
        };
    }
}

impl Terminal {
    /// Executes SM or RM.
    pub(super) fn set_modes(&mut self, params: &Params, on: bool) {
        for mode in params.iter() {
            match mode {
                4 => self.modes.insert = on,
                20 => self.modes.line_feed = on,
                _ => {}
            }
        }
    }

    /// Executes DECSET or DECRST.
    pub(super) fn set_private_modes(&mut self, params: &Params, on: bool) {
        for mode in params.iter() {
            self.set_private_mode(mode, on);
        }
    }

    fn set_private_mode(&mut self, mode: i32, on: bool) {
        match mode {
            1 => self.modes.application_cursor = on,
            2 if on => (0..4).for_each(|slot| self.charsets.designate(slot, Default::default())),
            6 => {
                self.modes.origin = on;
                self.move_to(0, 0);
            }
            7 => self.modes.autowrap = on,
            9 | 1000 | 1002 | 1003 => {
                self.modes.mouse = if on { Mouse::Reported(mode) } else { Mouse::Off };
            }
            12 => self.modes.cursor_blink = on,
            25 => self.modes.cursor_hidden = !on,
            45 => self.modes.reverse_wrap = on,
            47 | 1047 => self.show_alternate(on),
            66 => self.modes.application_keypad = on,
            1004 => self.modes.focus = on,
            1006 | 1016 => self.modes.mouse_encoding = if on { mode } else { 0 },
            // 1047 switches the buffer, 1048 saves the cursor, and 1049 does both. The order
            // matters: each buffer has its own saved cursor, and 1049 uses that of the normal
            // buffer.
            1048 if on => self.save_cursor(),
            1048 => self.restore_cursor(),
            1049 if on => {
                self.save_cursor();
                self.show_alternate(true);
            }
            1049 => {
                self.show_alternate(false);
                self.restore_cursor();
            }
            2004 => self.modes.bracketed_paste = on,
            2026 => self.modes.synchronized = on,
            2027 => self.keyboard.clusters = on,
            2048 => self.keyboard.reports_sizes = on,
            _ => {}
        }
    }

    /// Switches the buffer. The cursor keeps its position; the alternate buffer starts blank.
    fn show_alternate(&mut self, on: bool) {
        if self.modes.alternate == on {
            return;
        }

        let (x, y) = (self.buffer().x, self.buffer().y);
        let (cols, rows) = (self.cols, self.rows);
        self.work += rows;

        if on {
            self.alternate.rows = blank_rows(cols, rows, self.erased_cell());
        } else {
            self.alternate.hide(cols, rows);
        }

        self.modes.alternate = on;
        // A snapshot can only select a restored set through a saved cursor of the shown buffer. If
        // no such cursor has it, designates the set as a sequence would.
        let charset = self.charsets.active;
        if on && self.charsets.is_restored() && self.alternate.saved.charset != charset {
            self.charsets.designate(self.charsets.shifted, charset);
        }

        let shown = self.buffer_mut();
        (shown.x, shown.y) = (x, y);
    }

    /// Returns the answer to DECRQM: 0 unknown, 1 set, 2 reset, 3 always set, 4 always reset.
    pub(super) fn mode_state(&self, mode: i32) -> i32 {
        match mode {
            2 => 4,
            4 => state(self.modes.insert),
            12 => 3,
            20 => state(self.modes.line_feed),
            _ => 0,
        }
    }

    /// Returns the answer to DECRQM for a private mode, like [`Self::mode_state`].
    pub(super) fn private_mode_state(&self, mode: i32) -> i32 {
        let modes = &self.modes;
        match mode {
            1 => state(modes.application_cursor),
            6 => state(modes.origin),
            7 => state(modes.autowrap),
            8 => 3,
            9 | 1000 | 1002 | 1003 => state(modes.mouse == Mouse::Reported(mode)),
            12 => state(modes.cursor_blink),
            25 => state(!modes.cursor_hidden),
            45 => state(modes.reverse_wrap),
            47 | 1047 | 1049 => state(modes.alternate),
            66 => state(modes.application_keypad),
            67 | 1005 | 1015 => 4,
            1004 => state(modes.focus),
            1006 | 1016 => state(modes.mouse_encoding == mode),
            1048 => 1,
            2004 => state(modes.bracketed_paste),
            2026 => state(modes.synchronized),
            _ => 0,
        }
    }
}

fn state(on: bool) -> i32 {
    if on { 1 } else { 2 }
}
