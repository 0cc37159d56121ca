//! Dispatch of control and escape sequences.

use super::Terminal;
use crate::charsets::{Charset, Charsets};
use crate::grid::cell::Flags;
use crate::parser::Params;

impl Terminal {
    /// Executes a control sequence (CSI).
    pub(super) fn control_sequence(&mut self, collected: &[u8], params: &Params, last: u8) {
        match (collected, last) {
            ([], _) => self.plain_sequence(params, last),
            (b"?", b'J') => self.erase_display(params.get(0), true),
            (b"?", b'K') => self.erase_line(params.get(0), true),
            (b"?", b'h') => self.set_private_modes(params, true),
            (b"?", b'l') => self.set_private_modes(params, false),
            (b" ", b'@') => self.delete_columns(0, params.count(0)),
            (b" ", b'A') => self.insert_columns(0, params.count(0)),
            (b"'", b'}') => self.insert_columns(self.buffer().x, params.count(0)),
            (b"'", b'~') => self.delete_columns(self.buffer().x, params.count(0)),
            (b" ", b'q') => self.set_cursor_style(params.get(0)),
            (b"!", b'p') => self.soft_reset(),
            (b"\"", b'q') => self.protect(params.get(0)),
            _ if self.keyboard_sequence(collected, params, last) => {}
            _ => self.query(collected, params, last),
        }
    }

    /// Executes a control sequence that has neither a private marker nor intermediates.
    fn plain_sequence(&mut self, params: &Params, last: u8) {
        let count = params.count(0);
        match last {
            b'@' => self.insert_chars(count),
            // The cursor: CUU, CUD, CUF, CUB, CNL, CPL, CHA, CUP, and their aliases HPR, HPA, HVP.
            b'A' => self.cursor_up(count),
            b'B' => self.cursor_down(count),
            b'C' | b'a' => self.cursor_right(count),
            b'D' => self.cursor_left(count),
            b'E' => {
                self.cursor_down(count);
                self.buffer_mut().x = 0;
            }
            b'F' => {
                self.cursor_up(count);
                self.buffer_mut().x = 0;
            }
            b'G' | b'`' => self.cursor_column(count),
            b'H' | b'f' => self.move_to(params.count(1) - 1, count - 1),
            // Tabs, erasures and shifts: CHT, ED, EL, IL, DL, DCH, SU, SD, ECH, CBT.
            b'I' => self.tabs(count),
            b'J' => self.erase_display(params.get(0), false),
            b'K' => self.erase_line(params.get(0), false),
            b'L' => self.insert_lines(count),
            b'M' => self.delete_lines(count),
            b'P' => self.delete_chars(count),
            b'S' => self.scroll_up(count),
            b'T' => self.scroll_down(count),
            b'X' => self.erase_chars(count),
            b'Z' => self.tabs_back(count),
            // REP, VPA, VPR, TBC, SM, RM, SGR, DECSTBM, SCOSC, XTWINOPS, SCORC.
            b'b' => self.repeat(count),
            b'd' => self.cursor_row(count),
            b'e' => self.row_down(count),
            b'g' => self.clear_tabs(params.get(0)),
            b'h' => self.set_modes(params, true),
            b'l' => self.set_modes(params, false),
            b'm' => self.select_graphic_rendition(params),
            b'r' => self.set_region(count, params.get(1)),
            b's' => self.save_cursor(),
            b't' => self.window_operation(params),
            b'u' => self.restore_cursor(),
            _ => self.query(b"", params, last),
        }
    }

    /// Executes an escape sequence.
    pub(super) fn escape_sequence(&mut self, collected: &[u8], last: u8) {
        match (collected, last) {
            // DECSC, DECRC, IND, NEL, HTS, RI, DECKPAM, DECKPNM, RIS.
            ([], b'7') => self.save_cursor(),
            ([], b'8') => self.restore_cursor(),
            ([], b'D') => self.index(),
            ([], b'E') => self.next_line(),
            ([], b'H') => self.set_tab(),
            ([], b'M') => self.reverse_index(),
            ([], b'=') => self.modes.application_keypad = true,
            ([], b'>') => self.modes.application_keypad = false,
            ([], b'c') => self.reset(),
            // LS2, LS3 and LS1R. The right-hand forms select the same set.
            ([], b'n' | b'}') => self.charsets.shift(2),
            ([], b'o' | b'|') => self.charsets.shift(3),
            ([], b'~') => self.charsets.shift(1),
            // DECID, answered as DA1.
            ([], b'Z') => self.query(b"", &Params::default(), b'c'),
            (b"#", b'8') => self.fill_with_e(),
            // The output is always UTF-8, so choosing a coding only resets the character sets.
            (b"%", b'@' | b'G') => {
                self.charsets.shift(0);
                self.charsets.designate(0, Charset::Ascii);
            }
            ([slot], _) => {
                if let (Some(slot), Some(charset)) =
                    (Charsets::slot(*slot), Charset::designated_by(last))
                {
                    self.charsets.designate(slot, charset);
                }
            }
            _ => {}
        }
    }

    /// Sets the shape of the cursor (DECSCUSR).
    fn set_cursor_style(&mut self, style: i32) {
        // Above 6, the parity sets the blinking, and the shape stays.
        self.modes.cursor_style = match (style, self.modes.cursor_style) {
            (..=6, _) => style,
            (_, 0 | 7..) => 8 - style % 2,
            (_, shape) => (shape + 1) / 2 * 2 - style % 2,
        };
    }

    /// Sets whether erasure spares the next characters (DECSCA).
    fn protect(&mut self, mode: i32) {
        let attributes = self.pen.attributes;
        let mut flags = attributes.flags();
        match mode {
            1 => flags.insert(Flags::PROTECTED),
            0 | 2 => flags.remove(Flags::PROTECTED),
            _ => {}
        }

        self.pen.set(attributes.fg(), attributes.bg(), flags, &mut self.extras);
    }
}
