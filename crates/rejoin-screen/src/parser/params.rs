//! The parameters of a control sequence, such as `1;2:3`.

/// The maximum number of parameters, and of sub-parameters in total. Viewers also ignore more.
const LIMIT: usize = 32;

/// Numbers separated by `;`, each with sub-parameters separated by `:`.
#[derive(Clone, Debug)]
pub(crate) struct Params {
    values: [i32; LIMIT],
    len: usize,
    subs: [i32; LIMIT],
    subs_len: usize,
    /// The index of each parameter's first sub-parameter.
    starts: [usize; LIMIT],
    /// `true` after a `:`, while digits belong to a sub-parameter.
    in_sub: bool,
    /// `true` if a parameter was dropped, whose digits must not extend the last one.
    full: bool,
    /// `true` if a sub-parameter was dropped.
    subs_full: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            values: [0; LIMIT],
            // As in xterm.js, a sequence without parameters has a single one, 0.
            len: 1,
            subs: [0; LIMIT],
            subs_len: 0,
            starts: [0; LIMIT],
            in_sub: false,
            full: false,
            subs_full: false,
        }
    }
}

impl Params {
    pub(super) fn clear(&mut self) {
        (self.len, self.subs_len) = (0, 0);
        (self.full, self.subs_full) = (false, false);
        self.next();
    }

    /// Returns `true` if nothing but zeros was received.
    pub(super) fn is_initial(&self) -> bool {
        self.len == 1 && self.values[0] == 0 && !self.in_sub
    }

    /// Starts the next parameter, after `;`.
    pub(super) fn next(&mut self) {
        self.in_sub = false;
        if self.len == LIMIT {
            self.full = true;
            return;
        }

        self.starts[self.len] = self.subs_len;
        self.values[self.len] = 0;
        self.len += 1;
    }

    /// Starts the next sub-parameter, after `:`.
    pub(super) fn next_sub(&mut self) {
        self.in_sub = true;
        if self.full || self.subs_len == LIMIT {
            self.subs_full = true;
            return;
        }

        self.subs[self.subs_len] = -1;
        self.subs_len += 1;
    }

    /// Appends a digit to the current parameter or sub-parameter.
    pub(super) fn digit(&mut self, digit: u8) {
        if self.full || self.in_sub && self.subs_full {
            return;
        }

        let value = if self.in_sub {
            &mut self.subs[self.subs_len - 1]
        } else {
            &mut self.values[self.len - 1]
        };

        // -1 marks a missing value. The number saturates, however many digits a program sends.
        *value = (*value).max(0).saturating_mul(10).saturating_add(i32::from(digit));
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns a parameter, or 0 if it is missing.
    pub(crate) fn get(&self, index: usize) -> i32 {
        self.values[..self.len].get(index).copied().unwrap_or(0)
    }

    /// Returns a parameter as a count or a position, 1 to 65,535.
    pub(crate) fn count(&self, index: usize) -> usize {
        usize::try_from(self.get(index)).unwrap_or(1).clamp(1, usize::from(u16::MAX))
    }

    /// Returns the sub-parameters of a parameter. -1 stands for a missing one.
    pub(crate) fn subs(&self, index: usize) -> &[i32] {
        let starts = &self.starts[..self.len];
        let Some(&start) = starts.get(index) else { return &[] };
        let end = starts.get(index + 1).copied().unwrap_or(self.subs_len);
        &self.subs[start..end]
    }

    pub(crate) fn has_no_subs(&self) -> bool {
        self.subs_len == 0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = i32> {
        self.values[..self.len].iter().copied()
    }

    /// Writes the bytes from which a parser gets these parameters and continues with the same
    /// state.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for index in 0..self.len {
            if index > 0 {
                out.push(b';');
            }

            out.extend(self.get(index).to_string().bytes());
            for sub in self.subs(index) {
                out.push(b':');
                if *sub >= 0 {
                    out.extend(sub.to_string().bytes());
                }
            }
        }

        // Adds a separator for the dropped parameter, so that its next digits are also dropped.
        if self.full {
            out.push(b';');
        } else if self.in_sub && self.subs_full {
            out.push(b':');
        }
    }
}
