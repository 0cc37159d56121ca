//! The pen: the attributes of the next character.

use crate::grid::cell::{Attributes, Colour, Flags};
use crate::grid::extras::{Extra, Extras, LinkRef};

/// The current attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pen {
    /// The attributes as cells store them, derived from the other fields.
    pub(crate) attributes: Attributes,
    pub(crate) link: Option<LinkRef>,
    /// The underline colour, which is kept while underlining is off.
    pub(crate) underline: Colour,
}

impl Pen {
    /// Sets the colours and flags. Keeps the link.
    pub(crate) fn set(&mut self, fg: Colour, bg: Colour, flags: Flags, extras: &mut Extras) {
        // The colour of an absent underline is invisible, so storing it would waste table entries.
        let underline = if flags.underline() == 0 { Colour::DEFAULT } else { self.underline };
        // Nearly all text has neither, and so needs no entry in the table.
        let extra = if self.link.is_none() && underline == Colour::DEFAULT {
            0
        } else {
            let link = self.link.clone();
            extras.intern(Extra { link, underline: underline.0, combining: String::new() })
        };

        self.attributes = Attributes::new(fg, bg, flags, extra);
    }

    /// Sets the colours and flags of a saved cursor.
    pub(crate) fn restore(&mut self, saved: Attributes, extras: &mut Extras) {
        self.set(saved.fg(), saved.bg(), saved.flags(), extras);
    }

    /// Opens or closes a hyperlink.
    pub(crate) fn set_link(&mut self, link: Option<LinkRef>, extras: &mut Extras) {
        self.link = link;
        self.restore(self.attributes, extras);
    }
}
