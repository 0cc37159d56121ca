//! An allocator that counts what the current thread owns.
#![expect(unsafe_code, reason = "a global allocator cannot be implemented without")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    /// Below zero where a thread frees what another one allocated.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: each call is passed on to the system's allocator unchanged.
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

/// What a piece of work did to the thread's heap, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// The most it owned at once.
    pub(crate) peak: usize,
    /// What it owns at its end.
    pub(crate) kept: usize,
}

pub(crate) fn usage(work: impl FnOnce()) -> Usage {
    let before = LIVE.get();
    PEAK.set(before);
    work();
    let since = |count: isize| (count - before).cast_unsigned();
    Usage { peak: since(PEAK.get()), kept: since(LIVE.get()) }
}
