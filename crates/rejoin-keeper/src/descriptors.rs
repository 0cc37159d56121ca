//! The descriptors that a keeper inherits.

use std::{fs, os::fd::RawFd};

/// Closes every descriptor above the standard streams. A keeper runs for a long time, and would
/// keep holding any lock or socket that its parent leaked.
#[expect(unsafe_code, reason = "closing a descriptor by its number has no safe form")]
pub(crate) fn close_inherited() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let numbers: Vec<RawFd> = numbers.filter(|number| *number > 2).collect();
    for number in numbers {
        // The descriptor of the listing itself is already closed.
        if fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok() {
            // SAFETY: the process has just started and owns no descriptor yet.
            unsafe { rustix::io::close(number) };
        }
    }
}
