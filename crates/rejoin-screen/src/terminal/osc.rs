//! OSC: titles, colours, hyperlinks.

use std::fmt::Write as _;

use super::palette::{self, FOREGROUND};
use super::{TITLE_LIMIT, TITLES, Terminal};
use crate::grid::extras::Link;
use crate::parser::{Params, Terminator};

/// Numbers of the palette's colours; the three that OSC 10 to 12 set come after.
const COLOURS: usize = 256;
/// Bytes of a hyperlink's URI; text with a longer one has no link.
const URI_LIMIT: usize = 2048;
/// Bytes of a hyperlink's id; text with a longer one has no link.
const LINK_ID_LIMIT: usize = 256;

impl Terminal {
    pub(super) fn operating_system_command(&mut self, payload: &str, terminator: Terminator) {
        let (number, data) = payload.split_once(';').unwrap_or((payload, ""));
        match number {
            "0" | "2" => data[..data.floor_char_boundary(TITLE_LIMIT)].clone_into(&mut self.title),
            "4" => self.palette_colours(data, terminator),
            "8" => self.hyperlink(data),
            "10" | "11" | "12" => {
                let first = if number == "10" {
                    0
                } else if number == "11" {
                    1
                } else {
                    2
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

    /// OSC 4: pairs of a number and a colour or a question.
    fn palette_colours(&mut self, data: &str, terminator: Terminator) {
        let mut parts = data.split(';');
        while let (Some(index), Some(spec)) = (parts.next(), parts.next()) {
            if let Some(number) = palette_index(index) {
                self.colour(number, spec, &format!("4;{number}"), terminator);
            }
        }
    }

    /// OSC 10 to 12: colours of the text, the background and the cursor, from `first` on.
    fn dynamic_colours(&mut self, first: usize, data: &str, terminator: Terminator) {
        for (which, spec) in (first..3).zip(data.split(';')) {
            self.colour(FOREGROUND + which, spec, &format!("{}", 10 + which), terminator);
        }
    }

    fn colour(&mut self, number: usize, spec: &str, name: &str, terminator: Terminator) {
        if spec == "?" {
            let colour = self.palette.get(&number).copied();
            let [r, g, b] = colour.unwrap_or_else(|| palette::default_colour(number));
            let end = match terminator {
                Terminator::Bell => "\x07",
                Terminator::StringTerminator => "\x1b\\",
            };
            let mut answer = format!("\x1b]{name};rgb:");
            let _ = write!(answer, "{r:02x}{r:02x}/{g:02x}{g:02x}/{b:02x}{b:02x}{end}");
            self.answer(&answer);
        } else if let Some(colour) = palette::parse(spec) {
            self.palette.insert(number, colour);
        }
    }

    /// OSC 8: `key=value:key=value;uri`, of which the URI may have semicolons too.
    fn hyperlink(&mut self, data: &str) {
        let Some((keys, uri)) = data.split_once(';') else { return };
        let link = if uri.is_empty() {
            // With an id but without a URI it is neither the begin nor the end of one.
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

    /// The titles of XTWINOPS (22 puts aside, 23 brings back); all else of it is a query.
    pub(super) fn window_operation(&mut self, params: &Params) {
        let titles = matches!(params.get(1), 0 | 2);
        match params.get(0) {
            22 if titles => {
                if self.titles.len() == TITLES {
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

fn palette_index(digits: &str) -> Option<usize> {
    let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?;
    number.filter(|&index| index < COLOURS)
}
