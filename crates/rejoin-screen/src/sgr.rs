//! Converts attributes to SGR parameters.

use std::fmt::Write as _;

use crate::grid::cell::{Attributes, Colour, Flags};

/// Returns the codes that set these attributes after a reset, each preceded by `;`.
pub(crate) fn codes(attributes: Attributes, underline: Colour) -> String {
    let mut out = String::new();
    let flags = attributes.flags();
    let switched = [
        (Flags::BOLD, 1),
        (Flags::DIM, 2),
        (Flags::ITALIC, 3),
        (Flags::BLINK, 5),
        (Flags::INVERSE, 7),
        (Flags::HIDDEN, 8),
        (Flags::STRIKE, 9),
        (Flags::OVERLINE, 53),
    ];

    for (flag, code) in switched {
        if flags.has(flag) {
            let _ = write!(out, ";{code}");
        }
    }

    match flags.underline() {
        0 => {}
        1 => out.push_str(";4"),
        style => {
            let _ = write!(out, ";4:{style}");
        }
    }

    colour(&mut out, attributes.fg(), 30);
    colour(&mut out, attributes.bg(), 40);
    colour(&mut out, underline, 50);

    out
}

/// Appends the code of a colour.
///
/// `base` is 30 for text, 40 for background, and 50 for underline, which has no basic colours.
fn colour(out: &mut String, colour: Colour, base: u32) {
    let value = colour.value();
    let extended = base + 8;
    let _ = match colour.mode() {
        0 => Ok(()),
        1 if value < 8 => write!(out, ";{}", base + value),
        1 => write!(out, ";{}", base + 60 + value - 8),
        2 => write!(out, ";{extended};5;{value}"),
        _ => {
            write!(out, ";{extended};2;{};{};{}", value >> 16 & 255, value >> 8 & 255, value & 255)
        }
    };
}

/// Returns `true` if cells are protected (DECSCA), which SGR cannot express.
pub(crate) fn is_protected(attributes: Attributes) -> bool {
    attributes.flags().has(Flags::PROTECTED)
}
