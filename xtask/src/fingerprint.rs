//! A hash that changes when a set of files changes.

/// A running FNV-1a hash over paths and contents.
///
/// It detects changes; it does not resist an attacker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fingerprint(u64);

impl Default for Fingerprint {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fingerprint {
    /// Adds a file. The order of the files matters.
    pub(crate) fn add(&mut self, path: &str, content: &[u8]) {
        // Without the length, a byte could move from one file to the next unnoticed.
        let length = (content.len() as u64).to_le_bytes();
        for byte in path.bytes().chain([0]).chain(length).chain(content.iter().copied()) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// Returns the hash as sixteen hexadecimal digits.
    pub(crate) fn hex(self) -> String {
        format!("{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> String {
        let mut fingerprint = Fingerprint::default();
        for (path, content) in files {
            fingerprint.add(path, content.as_bytes());
        }
        fingerprint.hex()
    }

    #[test]
    fn a_moved_byte_changes_the_fingerprint() {
        let first = of(&[("a", "12"), ("b", "3")]);

        assert_eq!(first, of(&[("a", "12"), ("b", "3")]));
        assert_ne!(first, of(&[("a", "1"), ("b", "23")]));
        assert_ne!(first, of(&[("a", "12"), ("c", "3")]));
    }
}
