//! Colours and attributes (SGR).

use super::Terminal;
use crate::grid::cell::{Colour, Flags};
use crate::parser::Params;

impl Terminal {
    /// Executes SGR.
    pub(super) fn select_graphic_rendition(&mut self, params: &Params) {
        let attributes = self.pen.attributes;
        let (mut fg, mut bg, mut flags) = (attributes.fg(), attributes.bg(), attributes.flags());
        let mut index = 0;

        while index < params.len() {
            let code = params.get(index);
            match code {
                0 => {
                    (fg, bg, flags) = Default::default();
                    self.pen.underline = Colour::DEFAULT;
                }
                4 => flags.set_underline(underline_style(params.subs(index))),
                21 => flags.set_underline(2),
                24 => flags.set_underline(0),
                // 22 resets both weights. There is no code that resets only one of them.
                22 => {
                    flags.remove(Flags::BOLD);
                    flags.remove(Flags::DIM);
                }
                30..=37 => fg = basic(code - 30),
                39 => fg = Colour::DEFAULT,
                40..=47 => bg = basic(code - 40),
                49 => bg = Colour::DEFAULT,
                59 => self.pen.underline = Colour::DEFAULT,
                90..=97 => fg = basic(code - 90 + 8),
                100..=107 => bg = basic(code - 100 + 8),
                38 | 48 | 58 => {
                    let (colour, used) = extended_colour(params, index);
                    let target = match code {
                        38 => &mut fg,
                        48 => &mut bg,
                        _ => &mut self.pen.underline,
                    };

                    // An invalid colour changes nothing, but consumes its parameters.
                    *target = colour.unwrap_or(*target);
                    index += used;
                }
                _ => set_flag(&mut flags, code),
            }

            index += 1;
        }

        self.pen.set(fg, bg, flags, &mut self.extras);
    }
}

fn set_flag(flags: &mut Flags, code: i32) {
    match code {
        1 => flags.insert(Flags::BOLD),
        2 => flags.insert(Flags::DIM),
        3 => flags.insert(Flags::ITALIC),
        5 => flags.insert(Flags::BLINK),
        7 => flags.insert(Flags::INVERSE),
        8 => flags.insert(Flags::HIDDEN),
        9 => flags.insert(Flags::STRIKE),
        53 => flags.insert(Flags::OVERLINE),
        23 => flags.remove(Flags::ITALIC),
        25 => flags.remove(Flags::BLINK),
        27 => flags.remove(Flags::INVERSE),
        28 => flags.remove(Flags::HIDDEN),
        29 => flags.remove(Flags::STRIKE),
        55 => flags.remove(Flags::OVERLINE),
        _ => {}
    }
}

fn basic(index: i32) -> Colour {
    Colour::basic(index.unsigned_abs())
}

fn underline_style(subs: &[i32]) -> u32 {
    match subs.first() {
        Some(&style @ 0..=5) => style.unsigned_abs(),
        _ => 1,
    }
}

/// Parses the colour at `38`, `48` or `58`. Returns it and the number of further parameters used.
///
/// Programs write `38;2;r;g;b`, `38:2::r:g:b` and mixtures of both. Uses the algorithm of xterm.js.
/// The slots are the mode, the colour space and three values. Only the colon form contains the
/// colour space.
fn extended_colour(params: &Params, start: usize) -> (Option<Colour>, usize) {
    // Nearly all programs write this form, so it is handled first.
    if params.get(start + 1) == 5 && start + 2 < params.len() && params.has_no_subs() {
        return (Some(Colour::indexed(params.get(start + 2).unsigned_abs())), 2);
    }

    const SLOTS: usize = 5;
    let mut slots = [0_i32; SLOTS];
    let mut shift = 0;
    let mut used = 0;

    loop {
        if used > 0 {
            slots[used - 1 + shift] = params.get(start + used);
        }

        let subs = params.subs(start + used);
        if !subs.is_empty() {
            for (offset, &sub) in subs.iter().enumerate() {
                if slots[0] == 5 {
                    shift = 1;
                }

                if let Some(slot) = slots.get_mut(used + offset + shift) {
                    *slot = sub;
                }
            }

            break;
        }

        if slots[0] == 5 && used + shift >= 2 || slots[0] == 2 && used + shift >= SLOTS {
            break;
        }

        if slots[0] != 0 {
            shift = 1;
        }

        used += 1;
        if start + used >= params.len() || used + shift > SLOTS {
            break;
        }
    }

    let [_, _, a, b, c] = slots.map(|value| value.max(0).unsigned_abs());
    let colour = match slots[0] {
        2 => Some(Colour::rgb(a, b, c)),
        5 => Some(Colour::indexed(a)),
        _ => None,
    };

    (colour, used)
}
