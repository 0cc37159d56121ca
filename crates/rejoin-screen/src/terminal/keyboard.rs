//! The flags of the kitty keyboard protocol, of which each buffer has a stack.

/// Pushed flags that are kept; the oldest is forgotten, as the protocol asks.
const DEPTH: usize = 16;
/// The flags that the protocol defines.
const KNOWN: i32 = 0b1_1111;

/// The flags in force and those below them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keyboard {
    pub(crate) flags: u8,
    pub(crate) below: Vec<u8>,
}

impl Keyboard {
    pub(crate) fn push(&mut self, flags: i32) {
        if self.below.len() == DEPTH {
            self.below.remove(0);
        }
        self.below.push(self.flags);
        self.flags = known(flags);
    }

    /// Brings back what was in force `count` pushes ago, none if there were fewer.
    pub(crate) fn pop(&mut self, count: usize) {
        for _ in 0..count.min(DEPTH + 1) {
            self.flags = self.below.pop().unwrap_or(0);
        }
    }

    /// Replaces the flags (1), adds to them (2), or takes from them (3).
    pub(crate) fn set(&mut self, flags: i32, how: i32) {
        match how {
            2 => self.flags |= known(flags),
            3 => self.flags &= !known(flags),
            _ => self.flags = known(flags),
        }
    }
}

fn known(flags: i32) -> u8 {
    (flags & KNOWN).to_le_bytes()[0]
}
