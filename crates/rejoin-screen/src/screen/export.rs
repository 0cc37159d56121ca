//! Export of a screen in pieces.

use crate::grid::row::Row;
use crate::html;
use crate::screen::Screen;
use crate::snapshot::SnapshotWriter;

/// The size at which a piece is complete, in bytes. A piece exceeds it by one row at most.
const PIECE_BYTES: usize = 32 * 1024;

/// The format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// The visible text, one line per row, without trailing blanks.
    Text,
    /// A snapshot with the complete history. See [`Screen::snapshot`].
    Ansi,
    /// The visible screen as HTML. See [`Screen::html`].
    Html,
}

/// A copy of a screen that is written piece by piece.
#[derive(Debug)]
pub struct Export {
    screen: Screen,
    stage: ExportStage,
}

#[derive(Debug)]
enum ExportStage {
    Snapshot(Box<SnapshotWriter>),
    /// The next row of the visible screen.
    Rows(ExportFormat, usize),
    Done,
}

impl Export {
    pub(super) fn new(screen: Screen, format: ExportFormat) -> Self {
        let stage = match format {
            ExportFormat::Ansi => {
                ExportStage::Snapshot(Box::new(SnapshotWriter::full(&screen.terminal)))
            }
            ExportFormat::Text | ExportFormat::Html => ExportStage::Rows(format, 0),
        };

        Self { screen, stage }
    }
}

impl Iterator for Export {
    type Item = Vec<u8>;

    /// Returns the next piece, of at most 32 KiB plus one row.
    fn next(&mut self) -> Option<Vec<u8>> {
        let terminal = &self.screen.terminal;
        let mut piece = Vec::new();
        let mut is_done = false;

        match &mut self.stage {
            ExportStage::Snapshot(writer) => {
                while piece.len() < PIECE_BYTES && !is_done {
                    is_done = !writer.step(terminal);
                    piece.append(&mut writer.take());
                }

                if is_done {
                    // The snapshot ends with any incomplete sequence or character.
                    piece.extend(self.screen.parser.pending());
                }
            }
            ExportStage::Rows(format, next) => {
                let rows = &terminal.buffer().rows;
                let mut text = String::new();

                while text.len() < PIECE_BYTES && !is_done {
                    write_row(&mut text, &self.screen, *format, *next);
                    *next += 1;
                    is_done = *next == rows.len();
                }

                piece = text.into_bytes();
            }
            ExportStage::Done => return None,
        }

        if is_done {
            self.stage = ExportStage::Done;
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
    // The right half of a wide character has no text of its own.
    for &cell in row.used().iter().filter(|cell| !cell.is_tail()) {
        out.push(cell.char().unwrap_or(' '));
        out.push_str(screen.terminal.extras.combining(cell));
    }

    let end = start + out[start..].trim_end().len();
    out.truncate(end);
}
