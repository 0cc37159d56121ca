//! The character sets that programs designate: line drawing and the national sets.

/// A set of 94 characters that replaces printable ASCII.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Charset {
    #[default]
    Ascii,
    /// DEC Special Graphics, for line drawing.
    DecSpecial,
    British,
    Dutch,
    Finnish,
    French,
    FrenchCanadian,
    German,
    Italian,
    NorwegianDanish,
    Spanish,
    Swedish,
    Swiss,
}

/// The characters of the line drawing set from 0x60 on.
const DEC_SPECIAL: [char; 31] = [
    '◆', '▒', '␉', '␌', '␍', '␊', '°', '±', '␤', '␋', '┘', '┐', '┌', '└', '┼', '⎺', '⎻', '─', '⎼',
    '⎽', '├', '┤', '┴', '┬', '│', '≤', '≥', 'π', '≠', '£', '·',
];

impl Charset {
    /// Returns the set that an escape sequence with this final byte designates.
    pub(crate) fn designated_by(last: u8) -> Option<Self> {
        Some(match last {
            b'B' => Self::Ascii,
            b'0' => Self::DecSpecial,
            b'A' => Self::British,
            b'4' => Self::Dutch,
            b'C' | b'5' => Self::Finnish,
            b'R' => Self::French,
            b'Q' => Self::FrenchCanadian,
            b'K' => Self::German,
            b'Y' => Self::Italian,
            b'E' | b'6' => Self::NorwegianDanish,
            b'Z' => Self::Spanish,
            b'H' | b'7' => Self::Swedish,
            b'=' => Self::Swiss,
            _ => return None,
        })
    }

    /// Returns the final byte of the escape sequence that designates the set.
    pub(crate) fn designator(self) -> char {
        match self {
            Self::Ascii => 'B',
            Self::DecSpecial => '0',
            Self::British => 'A',
            Self::Dutch => '4',
            Self::Finnish => 'C',
            Self::French => 'R',
            Self::FrenchCanadian => 'Q',
            Self::German => 'K',
            Self::Italian => 'Y',
            Self::NorwegianDanish => 'E',
            Self::Spanish => 'Z',
            Self::Swedish => 'H',
            Self::Swiss => '=',
        }
    }

    /// Returns the character that an ASCII byte displays.
    pub(crate) fn map(self, byte: u8) -> char {
        match (self, byte) {
            (Self::DecSpecial, 0x60..=0x7e) => DEC_SPECIAL[usize::from(byte - 0x60)],
            _ => {
                let (replaced, by) = self.replaced();
                let at = replaced.bytes().position(|other| other == byte);
                at.and_then(|at| by.chars().nth(at)).unwrap_or(char::from(byte))
            }
        }
    }

    /// Returns the ASCII characters that a national set replaces, and their replacements.
    ///
    /// Follows xterm.js, which shows only the first letter of the Dutch `ij`.
    fn replaced(self) -> (&'static str, &'static str) {
        match self {
            Self::Ascii | Self::DecSpecial => ("", ""),
            Self::British => ("#", "£"),
            Self::Dutch => ("#@[\\]{|}~", "£¾i½|¨f¼´"),
            Self::Finnish => ("[\\]^`{|}~", "ÄÖÅÜéäöåü"),
            Self::French => ("#@[\\]{|}~", "£à°ç§éùè¨"),
            Self::FrenchCanadian => ("@[\\]^`{|}~", "àâçêîôéùèû"),
            Self::German => ("@[\\]{|}~", "§ÄÖÜäöüß"),
            Self::Italian => ("#@[\\]`{|}~", "£§°çéùàòèì"),
            Self::NorwegianDanish => ("@[\\]^`{|}~", "ÄÆØÅÜäæøåü"),
            Self::Spanish => ("#@[\\]{|}", "£§¡Ñ¿°ñç"),
            Self::Swedish => ("@[\\]^`{|}~", "ÉÄÖÅÜéäöåü"),
            Self::Swiss => ("#@[\\]^_`{|}~", "ùàéçêîèôäöüû"),
        }
    }
}

/// The four designated sets and the active one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Charsets {
    pub(crate) designated: [Charset; 4],
    /// The index of the set that the last shift selected.
    pub(crate) shifted: usize,
    /// The selected set or, until the next shift, the set of a restored cursor.
    pub(crate) active: Charset,
}

impl Charsets {
    /// Returns the slot that an escape sequence with this intermediate byte sets.
    pub(crate) fn slot(intermediate: u8) -> Option<usize> {
        // As in xterm.js, which also accepts the designators of sets with 96 characters, except
        // `/`.
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
        // The sets only replace ASCII, so all other characters are printed as they are.
        u8::try_from(c).map_or(c, |byte| self.active.map(byte))
    }

    /// Returns a character that prints `c`, if there is one.
    pub(crate) fn typed(self, c: char) -> Option<char> {
        // Most sets print `c` for itself; the Dutch `|` is a `]`.
        let other = || (' '..='~').find(|&other| self.map(other) == c);
        if self.map(c) == c { Some(c) } else { other() }
    }

    /// Selects a slot.
    pub(crate) fn shift(&mut self, to: usize) {
        self.shifted = to;
        self.active = self.designated[to];
    }

    /// Puts a set into a slot.
    pub(crate) fn designate(&mut self, slot: usize, charset: Charset) {
        self.designated[slot] = charset;
        // As in xterm.js, takes effect at once, even if a restored cursor selected the active set.
        if self.shifted == slot {
            self.active = charset;
        }
    }

    /// Returns `true` if the active set was selected by a restored cursor, not by a shift.
    pub(crate) fn is_restored(self) -> bool {
        self.active != self.designated[self.shifted]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINALS: &[u8] = b"0A4CRQKYEZH=";

    #[test]
    fn each_set_is_designated_by_its_designator() {
        for &last in FINALS {
            let set = Charset::designated_by(last).expect("the set is known");
            assert_eq!(set.designator(), char::from(last));
        }
    }

    #[test]
    fn each_replaced_character_has_one_replacement() {
        for &last in FINALS {
            let (replaced, by) = Charset::designated_by(last).expect("the set is known").replaced();
            assert_eq!(replaced.chars().count(), by.chars().count(), "{}", char::from(last));
        }
    }

    #[test]
    fn a_national_set_replaces_only_its_characters() {
        let text = |set: Charset| "a[\\]{|}~".bytes().map(|byte| set.map(byte)).collect::<String>();
        assert_eq!(text(Charset::German), "aÄÖÜäöüß");
        assert_eq!(text(Charset::Ascii), "a[\\]{|}~");
    }
}
