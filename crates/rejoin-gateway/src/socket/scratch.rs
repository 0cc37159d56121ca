//! Read buffers that sockets share: an idle connection has none.

use std::{
    future::poll_fn,
    io,
    ops::{Deref, DerefMut},
    pin::Pin,
    task::Poll,
};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, ReadBuf};

use crate::net::ReadHalf;

/// One read takes at most so many bytes.
const SCRATCH_BYTES: usize = 16 * 1024;
/// Buffers that are kept for the next readers.
const MAX_SPARE: usize = 64;

/// Held for a push or a pop.
static SPARE: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

/// A buffer that goes back to the others when it is dropped.
#[derive(Debug)]
pub(super) struct Scratch {
    buffer: Box<[u8]>,
    length: usize,
}

impl Scratch {
    fn take() -> Self {
        let spare = SPARE.lock().pop();
        let buffer = spare.unwrap_or_else(|| vec![0; SCRATCH_BYTES].into_boxed_slice());
        Self { buffer, length: 0 }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        let mut spare = SPARE.lock();
        if spare.len() < MAX_SPARE {
            spare.push(buffer);
        }
    }
}

impl Deref for Scratch {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[..self.length]
    }
}

/// Reads what has arrived; empty at the end. Holds no buffer while nothing arrives.
///
/// Cancel safe: yes.
pub(super) async fn read(socket: &mut ReadHalf) -> io::Result<Scratch> {
    poll_fn(|cx| {
        let mut scratch = Scratch::take();
        let mut buffer = ReadBuf::new(&mut scratch.buffer);
        match Pin::new(&mut *socket).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) => {
                scratch.length = buffer.filled().len();
                Poll::Ready(Ok(scratch))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
