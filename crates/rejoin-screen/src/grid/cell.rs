//! One cell of the screen (16 bytes) and its attributes.

/// A colour: the mode in bits 24 and 25 (default, 16, 256, RGB), the value below.
///
/// The 16 basic colours differ from the first 16 of the 256, because viewers draw bold text in the
/// bright variant only for basic colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Colour(pub(crate) u32);

impl Colour {
    pub(crate) const DEFAULT: Self = Self(0);
    const BITS: u32 = 0x3ff_ffff;

    pub(crate) fn basic(index: u32) -> Self {
        Self(1 << 24 | (index & 15))
    }

    pub(crate) fn indexed(index: u32) -> Self {
        Self(2 << 24 | (index & 255))
    }

    pub(crate) fn rgb(r: u32, g: u32, b: u32) -> Self {
        // Masked, so that a parameter above 255 does not spill into another component.
        Self(3 << 24 | (r & 255) << 16 | (g & 255) << 8 | (b & 255))
    }

    /// Returns the mode: 0 default, 1 one of 16, 2 one of 256, 3 RGB.
    pub(crate) fn mode(self) -> u32 {
        self.0 >> 24
    }

    pub(crate) fn value(self) -> u32 {
        self.0 & 0xff_ffff
    }
}

/// The flags of attributes and, in the upper three bits, the underline style.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags(pub(crate) u32);

impl Flags {
    pub(crate) const BOLD: Self = Self(1);
    pub(crate) const DIM: Self = Self(1 << 1);
    pub(crate) const ITALIC: Self = Self(1 << 2);
    pub(crate) const BLINK: Self = Self(1 << 3);
    pub(crate) const INVERSE: Self = Self(1 << 4);
    pub(crate) const HIDDEN: Self = Self(1 << 5);
    pub(crate) const STRIKE: Self = Self(1 << 6);
    pub(crate) const OVERLINE: Self = Self(1 << 7);
    /// Selective erasure spares the cell (DECSCA).
    pub(crate) const PROTECTED: Self = Self(1 << 8);
    const UNDERLINE_SHIFT: u32 = 9;
    const UNDERLINE_MASK: u32 = 7 << Self::UNDERLINE_SHIFT;
    /// The flags that are visible on a cell without a character.
    const SEEN_ON_BLANK: u32 =
        Self::INVERSE.0 | Self::STRIKE.0 | Self::OVERLINE.0 | Self::UNDERLINE_MASK;

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(crate) fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }

    /// Returns the underline style: 0 none, 1 single, 2 double, 3 curly, 4 dotted, 5 dashed.
    pub(crate) fn underline(self) -> u32 {
        self.0 >> Self::UNDERLINE_SHIFT
    }

    pub(crate) fn set_underline(&mut self, style: u32) {
        self.0 = self.0 & !Self::UNDERLINE_MASK | style << Self::UNDERLINE_SHIFT;
    }
}

/// The attributes of a cell: two words, each with a colour and six flags above it, and an extra.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    fg: u32,
    bg: u32,
    /// The index in the table of extras; 0 for none.
    pub(crate) extra: u32,
}

impl Attributes {
    // The flags are above the 24 bits of a colour's value and the two bits of its mode.
    const FLAG_BITS: u32 = 6;
    const FLAG_SHIFT: u32 = 26;

    pub(crate) fn new(fg: Colour, bg: Colour, flags: Flags, extra: u32) -> Self {
        let low = flags.0 & ((1 << Self::FLAG_BITS) - 1);
        let high = flags.0 >> Self::FLAG_BITS;
        Self { fg: fg.0 | low << Self::FLAG_SHIFT, bg: bg.0 | high << Self::FLAG_SHIFT, extra }
    }

    /// Returns the attributes of a cell that the pen erases: only the background.
    pub(crate) fn erased(self) -> Self {
        Self { fg: 0, bg: self.bg & Colour::BITS, extra: 0 }
    }

    /// Returns the attributes without the extra.
    pub(crate) fn plain(self) -> Self {
        Self { extra: 0, ..self }
    }

    pub(crate) fn fg(self) -> Colour {
        Colour(self.fg & Colour::BITS)
    }

    pub(crate) fn bg(self) -> Colour {
        Colour(self.bg & Colour::BITS)
    }

    pub(crate) fn flags(self) -> Flags {
        Flags(self.fg >> Self::FLAG_SHIFT | self.bg >> Self::FLAG_SHIFT << Self::FLAG_BITS)
    }
}

/// One cell. A cell of zeros has never been written to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    content: u32,
    attributes: Attributes,
}

impl Cell {
    pub(crate) const BLANK: Self =
        Self { content: 0, attributes: Attributes { fg: 0, bg: 0, extra: 0 } };
    // The largest code point, U+10FFFF, has 21 bits.
    const CHAR_BITS: u32 = 0x1f_ffff;
    const WIDTH_SHIFT: u32 = 21;

    /// Creates a cell with its first character. `width` is 0, 1 or 2.
    pub(crate) fn new(c: char, width: usize, attributes: Attributes) -> Self {
        // Width 1 is stored as 0, so that a blank cell consists of zeros.
        let width = match width {
            0 => 2,
            1 => 0,
            _ => 1,
        };

        Self { content: u32::from(c) | width << Self::WIDTH_SHIFT, attributes }
    }

    /// Creates the right half of a wide character.
    pub(crate) fn tail(attributes: Attributes) -> Self {
        // Width 0 without a character, which no other cell has.
        Self { content: 2 << Self::WIDTH_SHIFT, attributes }
    }

    /// Creates an empty cell with the visible attributes: the background, inverse and lines.
    ///
    /// It looks like a space but is not text: rewrapping and copying skip it at the end of rows.
    pub(crate) fn empty(attributes: Attributes) -> Self {
        let visible = attributes.flags().0 & Flags::SEEN_ON_BLANK != 0;
        Self { content: 0, attributes: if visible { attributes } else { attributes.erased() } }
    }

    /// Returns `true` for an empty cell with more than a background, which erasing never creates.
    pub(crate) fn is_lined(self) -> bool {
        self.width() == 1 && !self.has_content() && self.attributes != self.attributes.erased()
    }

    /// Returns the character. `None` for an empty cell and for the right half of a wide character.
    pub(crate) fn char(self) -> Option<char> {
        char::from_u32(self.content & Self::CHAR_BITS).filter(|&c| c != '\0')
    }

    /// Returns the character if it is ASCII and the cell has no extra.
    pub(crate) fn ascii(self) -> Option<u8> {
        // Width 1 is stored as 0, so that one comparison checks the character and the width.
        let plain = matches!(self.content, 0x20..=0x7e) && self.attributes.extra == 0;
        plain.then(|| self.content.to_le_bytes()[0])
    }

    pub(crate) fn has_content(self) -> bool {
        self.content & Self::CHAR_BITS != 0
    }

    /// Returns the width. 0 for the right half of a wide character and for a lone combining one.
    pub(crate) fn width(self) -> usize {
        match self.content >> Self::WIDTH_SHIFT {
            0 => 1,
            1 => 2,
            _ => 0,
        }
    }

    pub(crate) fn is_wide(self) -> bool {
        self.width() == 2
    }

    pub(crate) fn is_tail(self) -> bool {
        self.width() == 0 && !self.has_content()
    }

    pub(crate) fn attributes(self) -> Attributes {
        self.attributes
    }

    pub(crate) fn extra(self) -> u32 {
        self.attributes.extra
    }

    pub(crate) fn with_extra(mut self, extra: u32) -> Self {
        self.attributes.extra = extra;
        self
    }

    pub(crate) fn is_protected(self) -> bool {
        self.attributes.flags().has(Flags::PROTECTED)
    }
}
