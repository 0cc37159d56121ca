//! Packed rows: UTF-8 text with marks for changes of attributes and for empty cells.

use std::collections::HashMap;

use crate::grid::cell::{Attributes, Cell, Colour, Flags};
use crate::grid::extras::{Extra, Extras, LinkRef};
use crate::grid::row::Row;
use crate::width;

/// A mark: new attributes follow, as colours, flags, underline colour and link index.
const ATTRIBUTES: u8 = 1;
/// A mark: a number of empty cells follows.
const EMPTY: u8 = 2;
/// A mark: the next character is a combining one in its own cell.
const ALONE: u8 = 3;

/// The flag of a continued line in the top bit of its end offset.
const WRAPPED: u32 = 1 << 31;

/// Consecutive packed lines and their hyperlinks.
#[derive(Clone, Debug, Default)]
pub(super) struct Segment {
    bytes: Vec<u8>,
    /// The end offset of each line. The top bit is set if the line continues the previous one.
    ends: Vec<u32>,
    links: Vec<LinkRef>,
    link_bytes: usize,
}

impl Segment {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the memory of the segment, in bytes. A link counts in each segment that uses it.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.capacity() + 4 * self.ends.capacity() + self.link_bytes
    }

    /// Frees spare capacity.
    pub(super) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.links.shrink_to_fit();
    }

    pub(super) fn is_wrapped(&self, line: usize) -> bool {
        self.ends[line] & WRAPPED != 0
    }

    /// Drops the newest line.
    pub(super) fn pop(&mut self) {
        self.ends.pop();
        let end = self.ends.len().checked_sub(1).map_or(0, |last| self.end(last));
        self.bytes.truncate(end);
    }

    fn end(&self, line: usize) -> usize {
        (self.ends[line] & !WRAPPED) as usize
    }

    fn line(&self, line: usize) -> &[u8] {
        let start = line.checked_sub(1).map_or(0, |before| self.end(before));
        &self.bytes[start..self.end(line)]
    }
}

/// A packer of rows. Rows share nothing but the hyperlinks of their segment.
#[derive(Clone, Debug, Default)]
pub(super) struct Packer {
    last: Attributes,
    last_link: u64,
    last_underline: u32,
    /// The indexes of the current segment's links, from 1.
    links: HashMap<usize, u64>,
}

impl Packer {
    /// Clears the link indexes, before the next row goes to a different segment.
    pub(super) fn forget_links(&mut self) {
        self.links.clear();
    }

    /// Appends a row to a segment. Characters are never below 0x20, so marks are unambiguous.
    pub(super) fn pack(&mut self, row: &Row, extras: &Extras, segment: &mut Segment) {
        if segment.links.is_empty() {
            self.forget_links();
        }

        self.last = Attributes::default();
        (self.last_link, self.last_underline) = (0, 0);
        // Does not pack trailing blank cells, which unpacking restores.
        let stored = if row.fill().0 == Cell::BLANK { row.used_len() } else { row.stored().len() };
        let cells = &row.stored()[..stored];
        let mut x = 0;

        while let Some(&cell) = cells.get(x) {
            x += 1;
            // The left half of a wide character implies the right one.
            if cell.is_tail() {
                continue;
            }

            self.style(cell.attributes(), extras, segment);
            if let Some(ascii) = cell.ascii() {
                segment.bytes.push(ascii);
                // Text has long runs of equal attributes, so their ASCII is copied without
                // comparing styles.
                let run =
                    cells[x..].iter().take_while(|next| next.attributes() == cell.attributes());
                let packed = segment.bytes.len();
                segment.bytes.extend(run.map_while(|next| next.ascii()));
                x += segment.bytes.len() - packed;
                continue;
            }

            let Some(c) = cell.char() else {
                let more = cells[x..].iter().take_while(|&&next| next == cell).count();
                segment.bytes.push(EMPTY);
                number(&mut segment.bytes, more + 1);
                x += more;
                continue;
            };

            if cell.width() == 0 {
                segment.bytes.push(ALONE);
            }

            char(&mut segment.bytes, c);
            if cell.extra() != 0 {
                extras.combining(cell).chars().for_each(|c| char(&mut segment.bytes, c));
            }
        }

        self.pack_fill(row, extras, segment);
        // A segment is at most slightly larger than 64 KiB, so the offset fits into 31 bits.
        let end = u32::try_from(segment.bytes.len()).unwrap_or(0);
        segment.ends.push(end | if row.wrapped { WRAPPED } else { 0 });
    }

    /// Packs the cells that the row does not store, unless they are blank.
    fn pack_fill(&mut self, row: &Row, extras: &Extras, segment: &mut Segment) {
        let (cell, count) = row.fill();
        if cell == Cell::BLANK || count == 0 {
            return;
        }

        self.style(cell.attributes(), extras, segment);
        match cell.char() {
            Some(c) => (0..count).for_each(|_| char(&mut segment.bytes, c)),
            None => {
                segment.bytes.push(EMPTY);
                number(&mut segment.bytes, count);
            }
        }
    }

    /// Writes attributes if they differ from those of the previous cell.
    fn style(&mut self, attributes: Attributes, extras: &Extras, segment: &mut Segment) {
        if attributes == self.last {
            return;
        }

        let extra = extras.get(attributes.extra);
        let underline = extra.map_or(0, |extra| extra.underline);
        let link = extra.and_then(|extra| extra.link.as_ref());
        let link = link.map_or(0, |link| self.link(link, segment));
        // Different extras may differ only in combining characters, which are part of the text.
        let same = self.last.plain() == attributes.plain()
            && (self.last_link, self.last_underline) == (link, underline);
        self.last = attributes;
        (self.last_link, self.last_underline) = (link, underline);

        if same {
            return;
        }

        segment.bytes.push(ATTRIBUTES);
        for word in [attributes.fg().0, attributes.bg().0, attributes.flags().0, underline] {
            number(&mut segment.bytes, word as usize);
        }

        number(&mut segment.bytes, usize::try_from(link).unwrap_or(0));
    }

    /// Returns the index of a link in the segment, from 1. Adds the link if it is new.
    fn link(&mut self, link: &LinkRef, segment: &mut Segment) -> u64 {
        *self.links.entry(link.number()).or_insert_with(|| {
            segment.links.push(link.clone());
            segment.link_bytes += link.bytes();
            segment.links.len() as u64
        })
    }
}

fn char(bytes: &mut Vec<u8>, c: char) {
    bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Appends a number as an LEB128 varint.
fn number(bytes: &mut Vec<u8>, mut number: usize) {
    while number > 0x7f {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

/// Returns the cells of a packed row, up to the last packed one. Adds their extras to `extras`.
pub(super) fn unpack(
    segment: &Segment,
    line: usize,
    cols: usize,
    extras: &mut Extras,
) -> Vec<Cell> {
    let mut packed = segment.line(line);
    let mut cells = Vec::with_capacity(packed.len().min(cols));
    let mut attributes = Attributes::default();

    while let Some(&first) = packed.first() {
        match first {
            ATTRIBUTES => {
                packed = &packed[1..];
                attributes = take_attributes(&mut packed, segment, extras);
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
            // Most text is stored as it is, so a whole run is copied at once.
            b' '..=b'~' => {
                let end = packed.iter().position(|byte| !matches!(byte, b' '..=b'~'));
                let (text, rest) = packed.split_at(end.unwrap_or(packed.len()));
                cells.extend(text.iter().map(|&c| Cell::new(char::from(c), 1, attributes)));
                packed = rest;
            }
            _ => push(&mut cells, take_char(&mut packed), attributes, extras),
        }
    }

    cells.truncate(cols);
    cells
}

/// Appends an unpacked character, or combines it with the previous one.
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

fn take_attributes(packed: &mut &[u8], segment: &Segment, extras: &mut Extras) -> Attributes {
    let [fg, bg, flags, underline] =
        std::array::from_fn(|_| u32::try_from(take_number(packed)).unwrap_or(0));
    let link = take_number(packed).checked_sub(1).and_then(|link| segment.links.get(link));
    let extra = Extra { link: link.cloned(), underline, combining: String::new() };
    Attributes::new(Colour(fg), Colour(bg), Flags(flags), extras.intern(extra))
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
