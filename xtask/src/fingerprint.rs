//! A number that changes when a set of files changes.

/// FNV-1a over paths and contents: it notices change, it proves nothing.
#[derive(Clone, Copy, Debug)]
pub struct Fingerprint(u64);

impl Default for Fingerprint {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fingerprint {
    /// Adds one file; the order of the files matters.
    pub fn add(&mut self, path: &str, content: &[u8]) {
        let length = (content.len() as u64).to_le_bytes();
        for byte in path.bytes().chain([0]).chain(length).chain(content.iter().copied()) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// Sixteen hexadecimal digits.
    #[must_use]
    pub fn hex(self) -> String {
        format!("{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> String {
        let mut print = Fingerprint::default();
        for (path, content) in files {
            print.add(path, content.as_bytes());
        }
        print.hex()
    }

    #[test]
    fn a_moved_byte_changes_it() {
        let first = of(&[("a", "12"), ("b", "3")]);
        assert_eq!(first, of(&[("a", "12"), ("b", "3")]));
        assert_ne!(first, of(&[("a", "1"), ("b", "23")]));
        assert_ne!(first, of(&[("a", "12"), ("c", "3")]));
    }
}
