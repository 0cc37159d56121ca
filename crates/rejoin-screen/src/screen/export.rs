//! A screen that is written in pieces, for those who do not attach.

use crate::grid::row::Row;
use crate::html;
use crate::screen::Screen;
use crate::snapshot::Sequence;

/// A piece is sent when it has so many bytes; it is longer by one row at most.
const PIECE_BYTES: usize = 32 * 1024;

/// How a screen is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// What is visible, a line for each row, without trailing blanks.
    Text,
    /// Bytes that bring an empty terminal of the same size into the same state, history included.
    Ansi,
    /// What is visible, as a piece of HTML.
    Html,
}

/// A copy of a screen, written piece by piece.
#[derive(Debug)]
pub struct Export {
    screen: Screen,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Sequence(Box<Sequence>),
    /// The next row.
    Rows(ExportFormat, usize),
    Done,
}

impl Export {
    pub(super) fn new(screen: Screen, format: ExportFormat) -> Self {
        let stage = match format {
            ExportFormat::Ansi => Stage::Sequence(Box::new(Sequence::full(&screen.terminal))),
            ExportFormat::Text | ExportFormat::Html => Stage::Rows(format, 0),
        };
        Self { screen, stage }
    }
}

impl Iterator for Export {
    type Item = Vec<u8>;

    /// The next piece, of 32 KiB and one row at most.
    fn next(&mut self) -> Option<Vec<u8>> {
        let terminal = &self.screen.terminal;
        let mut piece = Vec::new();
        let mut is_done = false;
        match &mut self.stage {
            Stage::Sequence(sequence) => {
                while piece.len() < PIECE_BYTES && !is_done {
                    is_done = !sequence.step(terminal);
                    piece.append(&mut sequence.take());
                }
                if is_done {
                    piece.extend(self.screen.parser.pending());
                }
            }
            Stage::Rows(format, next) => {
                let rows = &terminal.buffer().rows;
                let mut text = String::new();
                while text.len() < PIECE_BYTES && !is_done {
                    write_row(&mut text, &self.screen, *format, *next);
                    *next += 1;
                    is_done = *next == rows.len();
                }
                piece = text.into_bytes();
            }
            Stage::Done => return None,
        }
        if is_done {
            self.stage = Stage::Done;
        }
        Some(piece)
    }
}

fn write_row(out: &mut String, screen: &Screen, format: ExportFormat, y: usize) {
    let rows = &screen.terminal.buffer().rows;
    if y > 0 {
        out.push('\n');
    } else if format == ExportFormat::Html {
        html::begin(out, &screen.terminal);
    }
    match format {
        ExportFormat::Html => html::row(out, &screen.terminal, &rows[y]),
        ExportFormat::Text | ExportFormat::Ansi => text_row(out, screen, &rows[y]),
    }
    if format == ExportFormat::Html && y + 1 == rows.len() {
        html::end(out);
    }
}

fn text_row(out: &mut String, screen: &Screen, row: &Row) {
    let start = out.len();
    for &cell in row.used().iter().filter(|cell| !cell.is_tail()) {
        out.push(cell.char().unwrap_or(' '));
        out.push_str(screen.terminal.extras.combining(cell));
    }
    let end = start + out[start..].trim_end().len();
    out.truncate(end);
}
