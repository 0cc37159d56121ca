//! Control sequences from bytes, one byte at a time, by the state machine that viewers use.
//!
//! The state can be written down as bytes ([`Parser::pending`]), so that a
//! snapshot may be taken in the middle of a sequence or of a character.

mod params;
mod utf8;

pub(crate) use params::Params;

use utf8::Next;

/// Payload of a string (OSC, DCS) that is interpreted; longer ones are ignored.
///
/// A viewer that joins within a longer one is given a string that it ignores to
/// its end; nothing of it reaches the screen.
pub(crate) const STRING_LIMIT: usize = 64 * 1024;
/// Text that is printed in one piece, in bytes.
const TEXT_BYTES: usize = 4096;
/// Intermediate bytes that are told apart; no sequence has more than two.
const INTERMEDIATES: usize = 3;

/// Means nothing by itself, but no character may be combined with one before it.
const CANCEL: u8 = 0x18;

/// What a sequence means is decided here.
pub(crate) trait Actions {
    /// So much was done that the parser stops after this byte.
    fn is_tired(&self) -> bool;
    /// Printable ASCII, at least one byte.
    fn print_ascii(&mut self, text: &[u8]);
    fn print(&mut self, c: char);
    /// A control character, C0 or C1.
    fn control(&mut self, code: u8);
    /// `collected` is the private marker, if any, and the intermediates.
    fn csi(&mut self, collected: &[u8], params: &Params, last: u8);
    fn escape(&mut self, collected: &[u8], last: u8);
    fn osc(&mut self, payload: &str, terminator: Terminator);
    fn dcs(&mut self, collected: &[u8], params: &Params, last: u8, payload: &str);
}

/// What ended a string, since an answer is ended the same way.
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
    /// SOS, PM and APC, which nothing is done with.
    Ignored,
    Osc,
    DcsEntry,
    DcsParam,
    DcsIntermediate,
    DcsIgnore,
    DcsPayload,
}

/// The state between two bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parser {
    state: State,
    /// The beginning of a character, at most three bytes.
    partial: Vec<u8>,
    collected: Vec<u8>,
    params: Params,
    last: u8,
    payload: String,
    /// The payload went over the limit.
    overlong: bool,
}

impl Parser {
    /// Interprets bytes until there are none or the actions are tired; returns those that are left.
    pub(crate) fn advance<'a>(
        &mut self,
        mut bytes: &'a [u8],
        actions: &mut impl Actions,
    ) -> &'a [u8] {
        bytes = self.finish_partial(bytes, actions);
        while let Some(&first) = bytes.first()
            && !actions.is_tired()
        {
            if self.state == State::Ground && matches!(first, 0x20..=0x7e) {
                let most = &bytes[..bytes.len().min(TEXT_BYTES)];
                let end = most.iter().position(|byte| !matches!(byte, 0x20..=0x7e));
                let (text, rest) = bytes.split_at(end.unwrap_or(most.len()));
                actions.print_ascii(text);
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
                Next::Char(c, len) => {
                    self.step(c, actions);
                    bytes = &bytes[len..];
                }
                Next::Skip(len) => bytes = &bytes[len..],
                Next::Partial => {
                    self.partial.extend(bytes);
                    return &[];
                }
            }
        }
        bytes
    }

    /// Goes on with a character that began in an earlier call; returns the bytes after it.
    fn finish_partial<'a>(&mut self, bytes: &'a [u8], actions: &mut impl Actions) -> &'a [u8] {
        let begun = self.partial.len();
        if begun == 0 || bytes.is_empty() {
            return bytes;
        }
        self.partial.extend(bytes.iter().take(4));
        let used = match utf8::next(&self.partial) {
            Next::Char(c, len) => {
                self.step(c, actions);
                len
            }
            Next::Skip(len) => len,
            Next::Partial => return &[],
        };
        self.partial.clear();
        &bytes[used - begun..]
    }

    /// Bytes that bring a parser at rest into this state, without any effect on the screen.
    ///
    /// At most a little more than [`STRING_LIMIT`]. A string that ran over the
    /// limit is represented by the beginning of one that viewers ignore.
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
            State::CsiIgnore => out.extend(b"\x1b[??"),
            State::Ignored => out.extend(b"\x1b_"),
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
        if !self.params.is_initial() || marker.is_none() && intermediates.is_empty() {
            self.params.write(out);
        }
        out.extend(intermediates);
    }

    fn step(&mut self, c: char, actions: &mut impl Actions) {
        let code = u32::from(c);
        match (self.state, code) {
            (State::Osc, 0x07 | 0x18 | 0x1a | 0x1b | 0x9c) => self.end_osc(code, actions),
            (State::DcsPayload, 0x18 | 0x1a | 0x1b | 0x9c) => self.end_dcs(code, actions),
            (_, 0x1b) => self.begin(State::Escape),
            (_, 0x18 | 0x1a | 0x80..=0x9f) => self.anywhere(code, actions),
            (State::Ground, _) => self.ground(c, actions),
            (State::Osc | State::DcsPayload, _) => self.put(c),
            (State::Escape | State::EscapeIntermediate, _) => self.escape(code, actions),
            (State::CsiIgnore, 0x40..=0x7e) => self.state = State::Ground,
            (State::CsiEntry | State::CsiParam | State::CsiIntermediate | State::CsiIgnore, _) => {
                self.csi(code, actions);
            }
            (State::DcsEntry | State::DcsParam | State::DcsIntermediate, _) => self.dcs(code),
            (State::DcsIgnore, _) => {}
            // A string of this kind ends at the first character beyond ASCII.
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

    /// Cancel, substitute, and the C1 controls, which count in every state.
    fn anywhere(&mut self, code: u32, actions: &mut impl Actions) {
        match code {
            0x90 => self.begin(State::DcsEntry),
            0x9b => self.begin(State::CsiEntry),
            0x9c => self.state = State::Ground,
            0x9d => self.begin(State::Osc),
            0x98 | 0x9e | 0x9f => self.state = State::Ignored,
            _ => {
                self.state = State::Ground;
                actions.control(byte(code));
            }
        }
    }

    fn ground(&mut self, c: char, actions: &mut impl Actions) {
        match u32::from(c) {
            code @ ..0x20 => actions.control(byte(code)),
            0x7f => {}
            _ => actions.print(c),
        }
    }

    fn put(&mut self, c: char) {
        let control = u32::from(c) < 0x20;
        if self.overlong || control && self.state == State::Osc {
            return;
        }
        self.payload.push(c);
        if self.payload.len() > STRING_LIMIT {
            self.payload = String::new();
            self.overlong = true;
        }
    }

    fn collect(&mut self, code: u32) {
        if self.collected.len() < INTERMEDIATES {
            self.collected.push(byte(code));
        }
    }

    fn escape(&mut self, code: u32, actions: &mut impl Actions) {
        let direct = self.state == State::Escape;
        match code {
            ..0x20 => actions.control(byte(code)),
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
                actions.escape(&self.collected, byte(code));
            }
            0x7f if direct => {}
            _ => self.state = State::Ground,
        }
    }

    fn csi(&mut self, code: u32, actions: &mut impl Actions) {
        use State::{CsiEntry, CsiIgnore, CsiIntermediate, CsiParam, Ground};
        match (self.state, code) {
            (_, ..0x20) => actions.control(byte(code)),
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
            (_, 0x30..=0x3f) => self.state = CsiIgnore,
            (_, 0x40..=0x7e) => {
                self.state = Ground;
                actions.csi(&self.collected, &self.params, byte(code));
            }
            (CsiEntry | CsiParam, 0x7f) => {}
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

    fn end_osc(&mut self, code: u32, actions: &mut impl Actions) {
        if !self.overlong && !matches!(code, 0x18 | 0x1a) {
            let terminator =
                if code == 0x07 { Terminator::Bell } else { Terminator::StringTerminator };
            actions.osc(&self.payload, terminator);
        }
        actions.control(CANCEL);
        self.begin(if code == 0x1b { State::Escape } else { State::Ground });
    }

    fn end_dcs(&mut self, code: u32, actions: &mut impl Actions) {
        if !self.overlong && !matches!(code, 0x18 | 0x1a) {
            actions.dcs(&self.collected, &self.params, self.last, &self.payload);
        }
        actions.control(CANCEL);
        self.begin(if code == 0x1b { State::Escape } else { State::Ground });
    }
}

/// Only called with codes below 0x100.
fn byte(code: u32) -> u8 {
    code.to_le_bytes()[0]
}
