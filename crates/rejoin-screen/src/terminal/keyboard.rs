//! The keyboard state of native terminals, which viewers in browsers ignore.
//!
//! The screen only remembers it, so that a snapshot restores it in a native terminal. Queries for
//! it are not answered, because a browser would not send the keys that the answer promises.

use super::Terminal;
use crate::parser::Params;

/// The maximum number of entries in a stack of keyboard flags. As in kitty, drops the oldest.
const MAX_FLAGS: usize = 8;
/// All flags of the kitty keyboard protocol.
const ALL_FLAGS: i32 = 0b1_1111;
/// The xterm resource that `CSI > 4 ; value m` sets.
const MODIFY_OTHER_KEYS: i32 = 4;

/// The keyboard state. The default is that of a new terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keyboard {
    pub(crate) normal: KeyboardFlags,
    pub(crate) alternate: KeyboardFlags,
    /// 0 to 3.
    pub(crate) modify_other_keys: i32,
    /// Mode 2048: changes of size are reported as input.
    pub(crate) reports_sizes: bool,
    /// Mode 2027: a grapheme cluster takes the cells of one character.
    pub(crate) clusters: bool,
}

/// The flags of the kitty keyboard protocol of one buffer: the current ones, and a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyboardFlags {
    pub(crate) current: i32,
    /// The oldest first.
    pub(crate) pushed: Vec<i32>,
}

impl KeyboardFlags {
    fn set(&mut self, flags: i32, how: i32) {
        let flags = flags & ALL_FLAGS;
        match how {
            // 1 is the default, and a parameter of 0 means the default.
            ..=1 => self.current = flags,
            2 => self.current |= flags,
            3 => self.current &= !flags,
            _ => {}
        }
    }

    fn push(&mut self, flags: i32) {
        // kitty keeps the current flags on the stack, so they count as an entry.
        if self.pushed.len() + 1 >= MAX_FLAGS {
            self.pushed.remove(0);
        }
        self.pushed.push(self.current);
        self.current = flags & ALL_FLAGS;
    }

    fn pop(&mut self, count: usize) {
        // Bounded, because a program could ask for two billion entries.
        for _ in 0..count.min(MAX_FLAGS) {
            // The protocol resets all flags once the stack is empty.
            self.current = self.pushed.pop().unwrap_or_default();
        }
    }
}

impl Terminal {
    /// Returns the keyboard flags of the shown buffer.
    pub(crate) fn keyboard_flags(&self) -> &KeyboardFlags {
        let keyboard = &self.keyboard;
        if self.modes.alternate { &keyboard.alternate } else { &keyboard.normal }
    }

    /// Executes a control sequence that changes the keyboard. Returns `false` for any other.
    pub(super) fn keyboard_sequence(
        &mut self,
        collected: &[u8],
        params: &Params,
        last: u8,
    ) -> bool {
        let keyboard = &mut self.keyboard;
        let flags =
            if self.modes.alternate { &mut keyboard.alternate } else { &mut keyboard.normal };
        match (collected, last) {
            (b"=", b'u') => flags.set(params.get(0), params.get(1)),
            (b">", b'u') => flags.push(params.get(0).max(0)),
            (b"<", b'u') => flags.pop(params.count(0)),
            // A missing value or resource resets it.
            (b">", b'm') if params.get(0) == MODIFY_OTHER_KEYS => {
                keyboard.modify_other_keys = params.get(1).clamp(0, 3);
            }
            (b">", b'm') if params.get(0) <= 0 => keyboard.modify_other_keys = 0,
            // xterm disables the resource here, which has the same effect on the keys as a reset.
            (b">", b'n') if params.get(0) == MODIFY_OTHER_KEYS => keyboard.modify_other_keys = 0,
            _ => return false,
        }

        true
    }
}
