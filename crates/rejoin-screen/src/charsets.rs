//! The character sets that programs designate, mainly for line drawing.

/// A set of 94 characters that replaces printable ASCII.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Charset {
    #[default]
    Ascii,
    /// DEC Special Graphics, for line drawing.
    DecSpecial,
    British,
}

/// The characters of the line drawing set from 0x60 on.
const DEC_SPECIAL: [char; 31] = [
    '◆', '▒', '␉', '␌', '␍', '␊', '°', '±', '␤', '␋', '┘', '┐', '┌', '└', '┼', '⎺', '⎻', '─', '⎼',
    '⎽', '├', '┤', '┴', '┬', '│', '≤', '≥', 'π', '≠', '£', '·',
];

impl Charset {
    /// Returns the set that an escape sequence with this final byte designates.
    pub(crate) fn designated_by(last: u8) -> Option<Self> {
        match last {
            b'0' => Some(Self::DecSpecial),
            b'A' => Some(Self::British),
            // National sets become ASCII: programs that write UTF-8 do not use them.
            b'B' | b'C' | b'5' | b'R' | b'Q' | b'K' | b'Y' | b'E' | b'6' | b'Z' | b'H' | b'7'
            | b'=' | b'4' => Some(Self::Ascii),
            _ => None,
        }
    }

    /// Returns the final byte of the escape sequence that designates the set.
    pub(crate) fn designator(self) -> char {
        match self {
            Self::Ascii => 'B',
            Self::DecSpecial => '0',
            Self::British => 'A',
        }
    }

    /// Returns the character that an ASCII byte displays.
    pub(crate) fn map(self, byte: u8) -> char {
        match (self, byte) {
            (Self::DecSpecial, 0x60..=0x7e) => DEC_SPECIAL[usize::from(byte - 0x60)],
            (Self::British, b'#') => '£',
            _ => char::from(byte),
        }
    }
}

/// The four designated sets and the active one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Charsets {
    pub(crate) designated: [Charset; 4],
    /// The index of the set that the last shift selected.
    pub(crate) shifted: usize,
    /// The selected set, or the set of a restored cursor until the next shift.
    pub(crate) active: Charset,
}

impl Charsets {
    /// Returns the slot that an escape sequence with this intermediate byte sets.
    pub(crate) fn slot(intermediate: u8) -> Option<usize> {
        match intermediate {
            b'(' => Some(0),
            b')' | b'-' => Some(1),
            b'*' | b'.' => Some(2),
            b'+' => Some(3),
            _ => None,
        }
    }

    /// Returns the character to print for a received character.
    pub(crate) fn map(self, c: char) -> char {
        u8::try_from(c).map_or(c, |byte| self.active.map(byte))
    }

    /// Selects a slot.
    pub(crate) fn shift(&mut self, to: usize) {
        self.shifted = to;
        self.active = self.designated[to];
    }

    /// Puts a set into a slot.
    pub(crate) fn designate(&mut self, slot: usize, charset: Charset) {
        self.designated[slot] = charset;
        if self.shifted == slot {
            self.active = charset;
        }
    }

    /// Returns `true` if a restored cursor, not a shift, determined the active set.
    pub(crate) fn is_restored(self) -> bool {
        self.active != self.designated[self.shifted]
    }
}
