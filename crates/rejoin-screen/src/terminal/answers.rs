//! Answers to the queries of programs: exactly one for each known query.

use super::Terminal;
use crate::grid::cell::{Attributes, Flags};
use crate::parser::Params;
use crate::sgr;

/// The maximum size of pending answers, in bytes. Answers beyond it are dropped.
const ANSWERS_LIMIT: usize = 64 * 1024;
/// The reported size of a cell, in pixels. A plausible value, because the server has no font.
const CELL_PIXELS: (usize, usize) = (8, 16);

impl Terminal {
    /// Queues an answer, or drops it if the queue is full.
    pub(super) fn answer(&mut self, answer: &str) {
        if self.answers.len() + answer.len() <= ANSWERS_LIMIT {
            self.answers.extend(answer.as_bytes());
        }
    }

    /// Answers a control sequence if it is a known query.
    pub(super) fn query(&mut self, collected: &[u8], params: &Params, last: u8) {
        let first = params.get(0);
        let answer = match (collected, last) {
            // Device attributes: a VT220 with colours.
            (b"", b'c') if first <= 0 => "\x1b[?62;22c".to_owned(),
            // 277 is the first version of xterm with SGR mouse reports, which programs then use.
            (b">", b'c') if first <= 0 => "\x1b[>0;277;0c".to_owned(),
            (b"=", b'c') if first <= 0 => "\x1bP!|00000000\x1b\\".to_owned(),
            (b"", b'n') if first == 5 => "\x1b[0n".to_owned(),
            (b"", b'n') if first == 6 => self.cursor_report(""),
            (b"?", b'n') if first == 6 => self.cursor_report("?"),
            // The colour scheme: dark, like the viewers' theme.
            (b"?", b'n') if first == 996 => "\x1b[?997;1n".to_owned(),
            (b"$", b'p') => format!("\x1b[{first};{}$y", self.mode_state(first)),
            (b"?$", b'p') => format!("\x1b[?{first};{}$y", self.private_mode_state(first)),
            (b">", b'q') if first <= 0 => {
                format!("\x1bP>|rejoin({})\x1b\\", env!("CARGO_PKG_VERSION"))
            }
            (b"", b't') => match self.window_report(first) {
                Some(answer) => answer,
                None => return,
            },
            _ => return,
        };

        self.answer(&answer);
    }

    fn cursor_report(&self, marker: &str) -> String {
        let buffer = self.buffer();
        let top = if self.modes.origin { buffer.top } else { 0 };
        let row = buffer.y.saturating_sub(top) + 1;
        let column = buffer.x.min(self.cols - 1) + 1;
        format!("\x1b[{marker}{row};{column}R")
    }

    fn window_report(&self, which: i32) -> Option<String> {
        let (cols, rows) = (self.cols, self.rows);
        let (width, height) = CELL_PIXELS;
        Some(match which {
            11 => "\x1b[1t".to_owned(),
            14 => format!("\x1b[4;{};{}t", rows * height, cols * width),
            16 => format!("\x1b[6;{height};{width}t"),
            18 => format!("\x1b[8;{rows};{cols}t"),
            19 => format!("\x1b[9;{rows};{cols}t"),
            // Security: a title set by output must never come back as input, where a shell would
            // execute it, so the reported titles are empty.
            20 => "\x1b]L\x1b\\".to_owned(),
            21 => "\x1b]l\x1b\\".to_owned(),
            _ => return None,
        })
    }

    /// Answers DECRQSS (`$q`), and XTGETTCAP (`+q`) with "unknown capability".
    pub(super) fn device_control(&mut self, collected: &[u8], last: u8, payload: &str) {
        let answer = match (collected, last) {
            (b"+", b'q') => {
                // Echoes only hexadecimal digits. Other bytes could form a command as input.
                let hex = payload.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b';');
                format!("\x1bP0+r{}\x1b\\", if hex { payload } else { "" })
            }
            (b"$", b'q') => match self.setting(payload) {
                Some(setting) => format!("\x1bP1$r{setting}{payload}\x1b\\"),
                None => "\x1bP0$r\x1b\\".to_owned(),
            },
            _ => return,
        };

        self.answer(&answer);
    }

    /// Returns the value of a setting that DECRQSS names.
    fn setting(&self, which: &str) -> Option<String> {
        let attributes = self.pen.attributes;
        Some(match which {
            "\"p" => "61;1".to_owned(),
            "\"q" => u8::from(attributes.flags().has(Flags::PROTECTED)).to_string(),
            " q" => self.modes.cursor_style.max(1).to_string(),
            "m" if attributes == Attributes::default() => "0".to_owned(),
            "m" => format!("0{}", sgr::codes(attributes, self.pen.underline)),
            "r" => format!("{};{}", self.buffer().top + 1, self.buffer().bottom + 1),
            _ => return None,
        })
    }
}
