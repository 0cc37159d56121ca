//! The parser of control sequences: the state machine of xterm.js.
//!
//! [`Parser::pending`] returns the state as bytes, so that a snapshot can be taken in the middle of
//! a sequence or of a character.

mod params;
mod utf8;

pub(crate) use params::Params;

use utf8::Decoded;

/// The maximum payload of a string (OSC, DCS), in bytes. Longer strings are ignored.
///
/// A snapshot inside a longer string contains the start of a string that viewers ignore up to its
/// end, so no part of the string reaches the screen.
pub(crate) const STRING_LIMIT: usize = 64 * 1024;
/// The maximum run of text that is printed at once, in bytes. Bounds the work of a step.
const TEXT_BYTES: usize = 4096;
/// The maximum number of collected bytes. No known sequence has more than two.
const INTERMEDIATES: usize = 3;

/// CAN, whose only effect is that the next character combines with nothing.
const CANCEL: u8 = 0x18;

/// The receiver of parsed output.
pub(crate) trait SequenceHandler {
    /// Returns `true` if the step has done enough work and the parser must return.
    fn should_pause(&self) -> bool;
    /// Prints printable ASCII, at least one byte.
    fn print_ascii(&mut self, text: &[u8]);
    fn print(&mut self, c: char);
    /// Executes a control character, C0 or C1.
    fn control(&mut self, code: u8);
    /// Executes a control sequence. `collected` is the private marker and the intermediates.
    fn csi(&mut self, collected: &[u8], params: &Params, last: u8);
    fn escape(&mut self, collected: &[u8], last: u8);
    fn osc(&mut self, payload: &str, terminator: Terminator);
    fn dcs(&mut self, collected: &[u8], params: &Params, last: u8, payload: &str);
}

/// The terminator of a string. The answer to a query must use the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Terminator {
    Bell,
    StringTerminator,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Escape,
    EscapeIntermediate,
    CsiEntry,
    CsiParam,
    CsiIntermediate,
    CsiIgnore,
    /// SOS, PM and APC strings, which are ignored.
    Ignored,
    Osc,
    DcsEntry,
    DcsParam,
    DcsIntermediate,
    DcsIgnore,
    DcsPayload,
}

/// The state of the parser between two bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parser {
    state: State,
    /// The start of an incomplete character, at most three bytes.
    partial: Vec<u8>,
    /// The private marker, if any, and the intermediates of the current sequence.
    collected: Vec<u8>,
    params: Params,
    /// The final byte of the current DCS sequence.
    last: u8,
    payload: String,
    /// `true` if the payload exceeded the limit.
    overlong: bool,
}

impl Parser {
    /// Interprets bytes until the end, or until the handler pauses. Returns the remaining bytes.
    pub(crate) fn advance<'a>(
        &mut self,
        mut bytes: &'a [u8],
        handler: &mut impl SequenceHandler,
    ) -> &'a [u8] {
        bytes = self.finish_partial(bytes, handler);
        while let Some(&first) = bytes.first()
            && !handler.should_pause()
        {
            // Two fast paths, for text and digits, which make up nearly all output of programs.
            if self.state == State::Ground && matches!(first, 0x20..=0x7e) {
                let most = &bytes[..bytes.len().min(TEXT_BYTES)];
                let end = most.iter().position(|byte| !matches!(byte, 0x20..=0x7e));
                let (text, rest) = bytes.split_at(end.unwrap_or(most.len()));
                handler.print_ascii(text);
                bytes = rest;
                continue;
            }

            if matches!(self.state, State::CsiEntry | State::CsiParam) && first.is_ascii_digit() {
                self.state = State::CsiParam;
                self.params.digit(first - b'0');
                bytes = &bytes[1..];
                continue;
            }

            match utf8::next(bytes) {
                Decoded::Char(c, len) => {
                    self.step(c, handler);
                    bytes = &bytes[len..];
                }
                Decoded::Skip(len) => bytes = &bytes[len..],
                // At most three bytes. The next call completes the character.
                Decoded::Partial => {
                    self.partial.extend(bytes);
                    return &[];
                }
            }
        }

        bytes
    }

    /// Completes a character that began in an earlier call. Returns the bytes after it.
    fn finish_partial<'a>(
        &mut self,
        bytes: &'a [u8],
        handler: &mut impl SequenceHandler,
    ) -> &'a [u8] {
        let begun = self.partial.len();
        if begun == 0 || bytes.is_empty() {
            return bytes;
        }

        // Four bytes are enough for any character. The caller decodes the bytes beyond it again.
        self.partial.extend(bytes.iter().take(4));
        let used = match utf8::next(&self.partial) {
            Decoded::Char(c, len) => {
                self.step(c, handler);
                len
            }
            Decoded::Skip(len) => len,
            Decoded::Partial => return &[],
        };

        self.partial.clear();
        &bytes[used - begun..]
    }

    /// Returns the bytes that bring an idle parser to this state without any other effect.
    ///
    /// Their length exceeds [`STRING_LIMIT`] only slightly. An overlong string is replaced by the
    /// start of a string that viewers ignore.
    pub(crate) fn pending(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self.state {
            State::Ground => {}
            State::Escape | State::EscapeIntermediate => {
                out.push(0x1b);
                out.extend(&self.collected);
            }
            State::CsiEntry => out.extend(b"\x1b["),
            State::CsiParam | State::CsiIntermediate => self.write_sequence(b"\x1b[", &mut out),
            // A second private marker is invalid: viewers ignore the sequence up to its final byte.
            State::CsiIgnore => out.extend(b"\x1b[??"),
            State::Ignored => out.extend(b"\x1b_"),
            // The number is unknown, so viewers ignore the string whatever follows.
            State::Osc if self.overlong => out.extend(b"\x1b]99999;"),
            State::Osc => {
                out.extend(b"\x1b]");
                out.extend(self.payload.as_bytes());
            }
            State::DcsEntry => out.extend(b"\x1bP"),
            State::DcsParam | State::DcsIntermediate => self.write_sequence(b"\x1bP", &mut out),
            State::DcsIgnore => out.extend(b"\x1bP??"),
            State::DcsPayload if self.overlong => out.extend(b"\x1bP~"),
            State::DcsPayload => {
                self.write_sequence(b"\x1bP", &mut out);
                out.push(self.last);
                out.extend(self.payload.as_bytes());
            }
        }

        out.extend(&self.partial);
        out
    }

    fn write_sequence(&self, opener: &[u8], out: &mut Vec<u8>) {
        out.extend(opener);
        let (marker, intermediates) = match self.collected.split_first() {
            Some((marker @ b'<'..=b'?', rest)) => (Some(*marker), rest),
            _ => (None, &self.collected[..]),
        };

        out.extend(marker);
        // Something must follow the opener. Otherwise the viewer's parser stays in the entry state.
        if !self.params.is_initial() || marker.is_none() && intermediates.is_empty() {
            self.params.write(out);
        }

        out.extend(intermediates);
    }

    fn step(&mut self, c: char, handler: &mut impl SequenceHandler) {
        let code = u32::from(c);
        match (self.state, code) {
            // The terminators of strings come first: ESC also ends a string, and then begins ST.
            (State::Osc, 0x07 | 0x18 | 0x1a | 0x1b | 0x9c) => self.end_osc(code, handler),
            (State::DcsPayload, 0x18 | 0x1a | 0x1b | 0x9c) => self.end_dcs(code, handler),
            (_, 0x1b) => self.begin(State::Escape),
            (_, 0x18 | 0x1a | 0x80..=0x9f) => self.anywhere(code, handler),
            (State::Ground, _) => self.ground(c, handler),
            (State::Osc | State::DcsPayload, _) => self.put(c),
            (State::Escape | State::EscapeIntermediate, _) => self.escape(code, handler),
            (State::CsiIgnore, 0x40..=0x7e) => self.state = State::Ground,
            (State::CsiEntry | State::CsiParam | State::CsiIntermediate | State::CsiIgnore, _) => {
                self.csi(code, handler);
            }
            (State::DcsEntry | State::DcsParam | State::DcsIntermediate, _) => self.dcs(code),
            (State::DcsIgnore, _) => {}
            // As in xterm.js, such a string also ends at the first character beyond ASCII.
            (State::Ignored, 0xa0..) => self.state = State::Ground,
            (State::Ignored, _) => {}
        }
    }

    fn begin(&mut self, state: State) {
        self.state = state;
        self.collected.clear();
        self.params.clear();
        self.payload.clear();
        self.overlong = false;
    }

    /// Handles CAN, SUB and the C1 controls, which are effective in every state.
    fn anywhere(&mut self, code: u32, handler: &mut impl SequenceHandler) {
        match code {
            0x90 => self.begin(State::DcsEntry),
            0x9b => self.begin(State::CsiEntry),
            0x9c => self.state = State::Ground,
            0x9d => self.begin(State::Osc),
            0x98 | 0x9e | 0x9f => self.state = State::Ignored,
            _ => {
                self.state = State::Ground;
                handler.control(byte(code));
            }
        }
    }

    fn ground(&mut self, c: char, handler: &mut impl SequenceHandler) {
        match u32::from(c) {
            code @ ..0x20 => handler.control(byte(code)),
            0x7f => {}
            _ => handler.print(c),
        }
    }

    /// Appends a character to the payload of a string.
    fn put(&mut self, c: char) {
        let control = u32::from(c) < 0x20;
        if self.overlong || control && self.state == State::Osc {
            return;
        }

        self.payload.push(c);
        if self.payload.len() > STRING_LIMIT {
            // Frees the memory at once, because the string may go on indefinitely.
            self.payload = String::new();
            self.overlong = true;
        }
    }

    /// Records a private marker or an intermediate byte.
    fn collect(&mut self, code: u32) {
        if self.collected.len() < INTERMEDIATES {
            self.collected.push(byte(code));
        }
    }

    fn escape(&mut self, code: u32, handler: &mut impl SequenceHandler) {
        let direct = self.state == State::Escape;
        match code {
            ..0x20 => handler.control(byte(code)),
            0x20..=0x2f => {
                self.collect(code);
                self.state = State::EscapeIntermediate;
            }
            0x50 if direct => self.begin(State::DcsEntry),
            0x5b if direct => self.begin(State::CsiEntry),
            0x5d if direct => self.begin(State::Osc),
            0x58 | 0x5e | 0x5f if direct => self.state = State::Ignored,
            0x30..=0x7e => {
                self.state = State::Ground;
                handler.escape(&self.collected, byte(code));
            }
            0x7f => {}
            _ => self.state = State::Ground,
        }
    }

    fn csi(&mut self, code: u32, handler: &mut impl SequenceHandler) {
        use State::{CsiEntry, CsiIgnore, CsiIntermediate, CsiParam, Ground};
        match (self.state, code) {
            // C0 controls within a control sequence are executed at once.
            (_, ..0x20) => handler.control(byte(code)),
            (CsiIgnore, _) => {}
            (_, 0x20..=0x2f) => {
                self.collect(code);
                self.state = CsiIntermediate;
            }
            (CsiEntry | CsiParam, 0x30..=0x3b) => {
                self.param(code);
                self.state = CsiParam;
            }
            (CsiEntry, 0x3c..=0x3f) => {
                self.collect(code);
                self.state = CsiParam;
            }
            // A marker or a parameter in the wrong place.
            (_, 0x30..=0x3f) => self.state = CsiIgnore,
            (_, 0x40..=0x7e) => {
                self.state = Ground;
                handler.csi(&self.collected, &self.params, byte(code));
            }
            (_, 0x7f) => {}
            _ => self.state = Ground,
        }
    }

    fn param(&mut self, code: u32) {
        match code {
            0x3b => self.params.next(),
            0x3a => self.params.next_sub(),
            _ => self.params.digit(byte(code - 0x30)),
        }
    }

    fn dcs(&mut self, code: u32) {
        use State::{DcsEntry, DcsIgnore, DcsIntermediate, DcsParam, DcsPayload, Ground};
        match (self.state, code) {
            // Unlike in a control sequence, C0 controls have no effect here.
            (_, ..0x20 | 0x7f) => {}
            (_, 0x20..=0x2f) => {
                self.collect(code);
                self.state = DcsIntermediate;
            }
            (DcsEntry | DcsParam, 0x30..=0x3b) => {
                self.param(code);
                self.state = DcsParam;
            }
            (DcsEntry, 0x3c..=0x3f) => {
                self.collect(code);
                self.state = DcsParam;
            }
            (_, 0x30..=0x3f) => self.state = DcsIgnore,
            (_, 0x40..=0x7e) => {
                self.last = byte(code);
                self.state = DcsPayload;
            }
            _ => self.state = Ground,
        }
    }

    fn end_osc(&mut self, code: u32, handler: &mut impl SequenceHandler) {
        // CAN and SUB cancel the string.
        if !self.overlong && !matches!(code, 0x18 | 0x1a) {
            let terminator =
                if code == 0x07 { Terminator::Bell } else { Terminator::StringTerminator };
            handler.osc(&self.payload, terminator);
        }

        handler.control(CANCEL);
        self.begin(if code == 0x1b { State::Escape } else { State::Ground });
    }

    fn end_dcs(&mut self, code: u32, handler: &mut impl SequenceHandler) {
        if !self.overlong && !matches!(code, 0x18 | 0x1a) {
            handler.dcs(&self.collected, &self.params, self.last, &self.payload);
        }
        handler.control(CANCEL);
        self.begin(if code == 0x1b { State::Escape } else { State::Ground });
    }
}

/// Returns the code as a byte. Callers only pass codes below 0x100.
fn byte(code: u32) -> u8 {
    code.to_le_bytes()[0]
}
