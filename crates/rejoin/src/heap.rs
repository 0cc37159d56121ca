//! The heap of the C library.

/// The number of the heap's arenas.
///
/// By default each thread of two processors has one of eight, and an arena is rarely given back to
/// the system: what short tasks allocate between the parts of connections stays. With two arenas an
/// idle connection takes a sixth less memory, and threads rarely wait, because small blocks are
/// cached per thread.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS: libc::c_int = 2;

/// Limits the number of arenas. Call it before the first thread is started.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "mallopt(3) has no safe form")]
pub(crate) fn limit_arenas() {
    // SAFETY: mallopt only sets a parameter of the allocator. No other thread runs.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
    }
}

/// Does nothing: other C libraries have no arenas.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn limit_arenas() {}
