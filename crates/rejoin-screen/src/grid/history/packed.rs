//! How a row is packed: its text in UTF-8, with marks where attributes change or cells are empty.

use std::sync::Arc;

use crate::grid::cell::{Attributes, Cell, Colour, Flags};
use crate::grid::extras::{Extra, Extras, Link};
use crate::grid::row::Row;
use crate::width;

/// New attributes follow: colours, flags, underline colour, link id and URI.
const ATTRIBUTES: u8 = 1;
/// A number of empty cells follows.
const EMPTY: u8 = 2;
/// The next character has no width but a cell of its own.
const ALONE: u8 = 3;

/// Packs rows, each on its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Packer {
    bytes: Vec<u8>,
    last: Attributes,
    last_extra: Extra,
}

impl Packer {
    /// The packed row; characters are never below 0x20, so marks are.
    pub(super) fn pack(&mut self, row: &Row, extras: &Extras) -> &[u8] {
        self.bytes.clear();
        self.last = Attributes::default();
        self.last_extra = Extra::default();
        let cells = &row.cells()[..row.used_len()];
        let mut x = 0;
        while let Some(&cell) = cells.get(x) {
            x += 1;
            if cell.is_tail() {
                continue;
            }
            if cell.attributes() != self.last {
                self.attributes(cell.attributes(), extras);
            }
            if let Some(ascii) = cell.ascii() {
                self.bytes.push(ascii);
                continue;
            }
            let Some(c) = cell.char() else {
                let more = cells[x..].iter().take_while(|&&next| next == cell).count();
                self.bytes.push(EMPTY);
                self.number(more + 1);
                x += more;
                continue;
            };
            if cell.width() == 0 {
                self.bytes.push(ALONE);
            }
            self.char(c);
            if cell.extra() != 0 {
                extras.combining(cell).chars().for_each(|c| self.char(c));
            }
        }
        &self.bytes
    }

    fn char(&mut self, c: char) {
        self.bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
    }

    fn number(&mut self, mut number: usize) {
        while number > 0x7f {
            self.bytes.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.bytes.push(number.to_le_bytes()[0]);
    }

    fn attributes(&mut self, attributes: Attributes, extras: &Extras) {
        let mut extra = extras.get(attributes.extra).cloned().unwrap_or_default();
        extra.combining.clear();
        let same = self.last.plain() == attributes.plain() && self.last_extra == extra;
        self.last = attributes;
        if same {
            return;
        }
        self.bytes.push(ATTRIBUTES);
        for word in [attributes.fg().0, attributes.bg().0, attributes.flags().0, extra.underline] {
            self.number(word as usize);
        }
        let link = extra.link.as_deref();
        for text in link.map_or(["", ""], |link| [&link.id, &link.uri]) {
            self.number(text.len());
            self.bytes.extend(text.as_bytes());
        }
        self.last_extra = extra;
    }
}

/// The cells of a packed row.
pub(super) fn unpack(mut packed: &[u8], cols: usize, extras: &mut Extras) -> Vec<Cell> {
    let mut cells = Vec::with_capacity(cols);
    let mut attributes = Attributes::default();
    while let Some(&first) = packed.first() {
        match first {
            ATTRIBUTES => {
                packed = &packed[1..];
                attributes = take_attributes(&mut packed, extras);
            }
            EMPTY => {
                packed = &packed[1..];
                let count = take_number(&mut packed);
                cells.extend(std::iter::repeat_n(Cell::empty(attributes), count));
            }
            ALONE => {
                packed = &packed[1..];
                let c = take_char(&mut packed);
                cells.push(Cell::new(c, 0, attributes));
            }
            _ => push(&mut cells, take_char(&mut packed), attributes, extras),
        }
    }
    cells.resize(cols, Cell::BLANK);
    cells
}

fn push(cells: &mut Vec<Cell>, c: char, attributes: Attributes, extras: &mut Extras) {
    match width::of(c) {
        0 => {
            let base = cells.iter().rposition(|cell| !cell.is_tail());
            if let Some(cell) = base.and_then(|x| cells.get_mut(x)) {
                *cell = extras.combine(*cell, c);
            }
        }
        width => {
            cells.push(Cell::new(c, width, attributes));
            if width == 2 {
                cells.push(Cell::tail(attributes));
            }
        }
    }
}

fn take_attributes(packed: &mut &[u8], extras: &mut Extras) -> Attributes {
    let [fg, bg, flags, underline] =
        std::array::from_fn(|_| u32::try_from(take_number(packed)).unwrap_or(0));
    let [id, uri] = std::array::from_fn(|_| take_text(packed));
    let link = (!uri.is_empty()).then(|| Arc::new(Link { id, uri }));
    let extra = extras.intern(Extra { link, underline, combining: String::new() });
    Attributes::new(Colour(fg), Colour(bg), Flags(flags), extra)
}

fn take_text(packed: &mut &[u8]) -> String {
    let len = take_number(packed).min(packed.len());
    let (text, rest) = packed.split_at(len);
    *packed = rest;
    String::from_utf8_lossy(text).into_owned()
}

fn take_number(packed: &mut &[u8]) -> usize {
    let mut number = 0;
    let mut shift = 0;
    while let Some((&byte, rest)) = packed.split_first() {
        *packed = rest;
        number |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            break;
        }
    }
    number
}

fn take_char(packed: &mut &[u8]) -> char {
    let len = match packed.first() {
        Some(0xf0..) => 4,
        Some(0xe0..) => 3,
        Some(0xc0..) => 2,
        _ => 1,
    };
    let (char, rest) = packed.split_at(len.min(packed.len()));
    *packed = rest;
    std::str::from_utf8(char).ok().and_then(|text| text.chars().next()).unwrap_or(' ')
}
