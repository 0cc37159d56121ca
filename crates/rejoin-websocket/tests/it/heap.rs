//! An allocator that counts the bytes that the current thread owns.
#![expect(unsafe_code, reason = "a global allocator needs an unsafe impl")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

#[global_allocator]
static COUNTING: Counting = Counting;

// Per thread, because the tests run in parallel threads of one process.
thread_local! {
    /// Negative if a thread frees memory that another thread allocated.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: each call is forwarded unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.set(LIVE.get() + layout.size().cast_signed());
        PEAK.set(PEAK.get().max(LIVE.get()));
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get() - layout.size().cast_signed());
        // SAFETY: the caller's contract is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The change of the thread's heap during a piece of work, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// The highest number of additional bytes.
    pub(crate) peak: usize,
    /// The number of additional bytes at the end.
    pub(crate) kept: usize,
}

/// Runs `work` and returns its heap usage.
pub(crate) fn usage(work: impl FnOnce()) -> Usage {
    let before = LIVE.get();
    PEAK.set(before);
    work();
    let since = |count: isize| (count - before).cast_unsigned();
    Usage { peak: since(PEAK.get()), kept: since(LIVE.get()) }
}
