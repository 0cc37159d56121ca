//! Operating system commands (OSC): titles, colours, hyperlinks.

use std::fmt::Write as _;

use super::palette::{self, FOREGROUND};
use super::{MAX_SAVED_TITLES, TITLE_LIMIT, Terminal};
use crate::grid::extras::Link;
use crate::parser::{Params, Terminator};

/// The number of palette colours. The three colours of OSC 10 to 12 follow them.
const COLOURS: usize = 256;
/// The maximum length of a hyperlink's URI, in bytes. Text with a longer one has no link.
const URI_LIMIT: usize = 2048;
/// The maximum length of a hyperlink's id, in bytes. Text with a longer one has no link.
const LINK_ID_LIMIT: usize = 256;

impl Terminal {
    /// Executes OSC. An answer gets the terminator of the query.
    pub(super) fn operating_system_command(&mut self, payload: &str, terminator: Terminator) {
        let (number, data) = payload.split_once(';').unwrap_or((payload, ""));
        match number {
            // 1 only sets the icon name, which nothing displays.
            "0" | "2" => data[..data.floor_char_boundary(TITLE_LIMIT)].clone_into(&mut self.title),
            "4" => self.palette_colours(data, terminator),
            "8" => self.hyperlink(data),
            "10" | "11" | "12" => {
                let first = match number {
                    "10" => 0,
                    "11" => 1,
                    _ => 2,
                };

                self.dynamic_colours(first, data, terminator);
            }
            "104" if data.is_empty() => self.palette.retain(|&index, _| index >= COLOURS),
            "104" => {
                for index in data.split(';').filter_map(palette_index) {
                    self.palette.remove(&index);
                }
            }
            "110" => drop(self.palette.remove(&FOREGROUND)),
            "111" => drop(self.palette.remove(&(FOREGROUND + 1))),
            "112" => drop(self.palette.remove(&(FOREGROUND + 2))),
            _ => {}
        }
    }

    /// Sets or reports palette colours (OSC 4): pairs of a number and a colour or `?`.
    fn palette_colours(&mut self, data: &str, terminator: Terminator) {
        let mut parts = data.split(';');
        while let (Some(index), Some(spec)) = (parts.next(), parts.next()) {
            if let Some(number) = palette_index(index) {
                self.colour(number, spec, &format!("4;{number}"), terminator);
            }
        }
    }

    /// Sets or reports the colours of text, background and cursor (OSC 10 to 12), from `first` on.
    fn dynamic_colours(&mut self, first: usize, data: &str, terminator: Terminator) {
        for (which, spec) in (first..3).zip(data.split(';')) {
            self.colour(FOREGROUND + which, spec, &format!("{}", 10 + which), terminator);
        }
    }

    /// Sets a colour, or reports it if `spec` is `?`.
    fn colour(&mut self, number: usize, spec: &str, name: &str, terminator: Terminator) {
        if spec == "?" {
            let colour = self.palette.get(&number).copied();
            let [r, g, b] = colour.unwrap_or_else(|| palette::default_colour(number));
            let end = match terminator {
                Terminator::Bell => "\x07",
                Terminator::StringTerminator => "\x1b\\",
            };

            // xterm answers with 16 bits per part, so each byte is written twice.
            let mut answer = format!("\x1b]{name};rgb:");
            let _ = write!(answer, "{r:02x}{r:02x}/{g:02x}{g:02x}/{b:02x}{b:02x}{end}");
            self.answer(&answer);
        } else if let Some(colour) = palette::parse(spec) {
            self.palette.insert(number, colour);
        }
    }

    /// Opens or closes a hyperlink (OSC 8): `key=value:key=value;uri`.
    ///
    /// The URI may contain semicolons.
    fn hyperlink(&mut self, data: &str) {
        let Some((keys, uri)) = data.split_once(';') else { return };
        let link = if uri.is_empty() {
            // xterm.js ignores an id without a URI.
            if !keys.trim().is_empty() {
                return;
            }

            None
        } else {
            let id = keys.trim().split(':').find_map(|key| key.strip_prefix("id="));
            let id = id.unwrap_or_default();
            let fits = uri.len() <= URI_LIMIT && id.len() <= LINK_ID_LIMIT;
            fits.then(|| Link { id: id.to_owned(), uri: uri.to_owned() })
        };

        let link = link.and_then(|link| self.extras.link(link));
        self.pen.set_link(link, &mut self.extras);
    }

    /// Saves (22) or restores (23) the title (XTWINOPS). Any other operation is a query.
    pub(super) fn window_operation(&mut self, params: &Params) {
        let titles = matches!(params.get(1), 0 | 2);
        match params.get(0) {
            22 if titles => {
                // Bounded, because a program could save titles forever.
                if self.titles.len() == MAX_SAVED_TITLES {
                    self.titles.remove(0);
                }

                self.titles.push(self.title.clone());
            }
            23 if titles => {
                if let Some(title) = self.titles.pop() {
                    self.title = title;
                }
            }
            _ => self.query(b"", params, b't'),
        }
    }
}

/// Parses the number of a palette colour.
fn palette_index(digits: &str) -> Option<usize> {
    // `parse` alone would accept a leading `+`.
    let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?;
    number.filter(|&index| index < COLOURS)
}
