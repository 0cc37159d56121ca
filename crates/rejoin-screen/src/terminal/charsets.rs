//! The character sets that programs designate to draw lines, or national letters.

/// A set of 94 characters that replaces ASCII.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Charset {
    #[default]
    Ascii,
    /// Line drawing.
    DecSpecial,
    British,
}

/// What `_` and the lower-case letters are in the line drawing set, from 0x60 on.
const DEC_SPECIAL: [char; 31] = [
    '◆', '▒', '␉', '␌', '␍', '␊', '°', '±', '␤', '␋', '┘', '┐', '┌', '└', '┼', '⎺', '⎻', '─', '⎼',
    '⎽', '├', '┤', '┴', '┬', '│', '≤', '≥', 'π', '≠', '£', '·',
];

impl Charset {
    /// The set that an escape sequence with this last byte designates.
    pub(crate) fn designated_by(last: u8) -> Option<Self> {
        match last {
            b'0' => Some(Self::DecSpecial),
            b'A' => Some(Self::British),
            // The national sets are not kept: programs that write UTF-8 use none.
            b'B' | b'C' | b'5' | b'R' | b'Q' | b'K' | b'Y' | b'E' | b'6' | b'Z' | b'H' | b'7'
            | b'=' | b'4' => Some(Self::Ascii),
            _ => None,
        }
    }

    /// The last byte of the escape sequence that designates the set.
    pub(crate) fn designator(self) -> char {
        match self {
            Self::Ascii => 'B',
            Self::DecSpecial => '0',
            Self::British => 'A',
        }
    }

    pub(crate) fn map(self, byte: u8) -> char {
        match (self, byte) {
            (Self::DecSpecial, 0x60..=0x7e) => DEC_SPECIAL[usize::from(byte - 0x60)],
            (Self::British, b'#') => '£',
            _ => char::from(byte),
        }
    }
}

/// The four designated sets and the one in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Charsets {
    pub(crate) designated: [Charset; 4],
    pub(crate) shifted: usize,
    /// The shifted-to one, or until the next shift what a saved cursor brought back.
    pub(crate) active: Charset,
}

impl Charsets {
    /// The slot that an escape sequence with this intermediate byte designates to.
    pub(crate) fn slot(intermediate: u8) -> Option<usize> {
        match intermediate {
            b'(' => Some(0),
            b')' | b'-' => Some(1),
            b'*' | b'.' => Some(2),
            b'+' => Some(3),
            _ => None,
        }
    }

    /// What a character is printed as.
    pub(crate) fn map(self, c: char) -> char {
        u8::try_from(c).map_or(c, |byte| self.active.map(byte))
    }

    pub(crate) fn shift(&mut self, to: usize) {
        self.shifted = to;
        self.active = self.designated[to];
    }

    pub(crate) fn designate(&mut self, slot: usize, charset: Charset) {
        self.designated[slot] = charset;
        if self.shifted == slot {
            self.active = charset;
        }
    }

    /// The set in use is not the one shifted to.
    pub(crate) fn is_restored(self) -> bool {
        self.active != self.designated[self.shifted]
    }
}
