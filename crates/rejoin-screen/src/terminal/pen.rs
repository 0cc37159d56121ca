//! What the next character is drawn with.

use crate::grid::cell::{Attributes, Colour, Flags};
use crate::grid::extras::{Extra, Extras, LinkRef};

/// The current attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pen {
    /// All of it as cells have it; follows from the fields below.
    pub(crate) attributes: Attributes,
    pub(crate) link: Option<LinkRef>,
    /// Counts only while text is underlined, but stays when it is not.
    pub(crate) underline: Colour,
}

impl Pen {
    /// Draws the next characters so; the link stays.
    pub(crate) fn set(&mut self, fg: Colour, bg: Colour, flags: Flags, extras: &mut Extras) {
        let underline = if flags.underline() == 0 { Colour::DEFAULT } else { self.underline };
        let extra = if self.link.is_none() && underline == Colour::DEFAULT {
            0
        } else {
            let link = self.link.clone();
            extras.intern(Extra { link, underline: underline.0, combining: String::new() })
        };
        self.attributes = Attributes::new(fg, bg, flags, extra);
    }

    /// Draws the next characters as a saved cursor says.
    pub(crate) fn restore(&mut self, saved: Attributes, extras: &mut Extras) {
        self.set(saved.fg(), saved.bg(), saved.flags(), extras);
    }

    pub(crate) fn set_link(&mut self, link: Option<LinkRef>, extras: &mut Extras) {
        self.link = link;
        self.restore(self.attributes, extras);
    }
}
