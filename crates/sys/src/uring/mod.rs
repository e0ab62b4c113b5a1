//! Requests on one file through a kernel ring (`io_uring(7)`).
//!
//! ```text
//!   request()  -->  waiting  --submit()-->  kernel  --reap()-->  result, waker woken
//! ```
//!
//! The kernel may write into a buffer long after its request was given up. Buffers therefore belong to the ring from
//! the time a request is made until the kernel is done with it; a [`Request`] that is dropped before leaves its buffer
//! behind. Whoever owns the ring calls [`Ring::submit`] and [`Ring::reap`] when requests were made and when
//! [`Ring::event`] becomes readable, so many requests share one call of the kernel.
#![expect(
    unsafe_code,
    reason = "requests carry addresses of buffers; eventfd has no safe face"
)]

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::File;
use std::future::Future;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use io_uring::{IoUring, opcode, squeue, types};

use crate::aligned::Aligned;

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Fills the buffer from an offset.
    Read(u64),
    /// Writes the buffer at an offset.
    Write(u64),
    /// Brings data to stable storage.
    Sync,
}

/// A ring over one file.
pub struct Ring {
    state: Mutex<State>,
    event: File,
}

struct State {
    ring: IoUring,
    /// Keeps the descriptor open as long as the kernel may use it.
    file: Arc<File>,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Slots that the kernel has not heard of.
    waiting: VecDeque<usize>,
    /// Requests that the kernel has.
    running: usize,
    /// Most of them at a time: what the completion queue has room for.
    most: usize,
}

/// One request's place.
#[derive(Default)]
struct Slot {
    op: Option<Op>,
    buffer: Aligned,
    waker: Option<Waker>,
    result: Option<io::Result<usize>>,
    /// Nobody waits for it any more.
    given_up: bool,
}

/// What became of a request, and its buffer.
pub type Done = (io::Result<usize>, Aligned);

/// A request under way.
pub struct Request<'a> {
    ring: &'a Ring,
    slot: Option<usize>,
}

impl Ring {
    /// A ring for some requests at a time.
    ///
    /// # Errors
    /// When the kernel has none or does not let this process have one.
    pub fn new(file: Arc<File>, depth: u32) -> io::Result<Self> {
        let mut ring = IoUring::builder().setup_clamp().build(depth)?;
        if !ring.params().is_feature_nodrop() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let event = event()?;
        ring.submitter().register_eventfd(event.as_raw_fd())?;
        // Some sandboxes let rings be made, but not used.
        push(&mut ring, &opcode::Nop::new().build())?;
        ring.submit_and_wait(1)?;
        let probed = ring.completion().next().map(|entry| entry.result());
        if probed != Some(0) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self {
            state: Mutex::new(State {
                most: usize::try_from(ring.params().cq_entries()).unwrap_or(1),
                ring,
                file,
                slots: Vec::new(),
                free: Vec::new(),
                waiting: VecDeque::new(),
                running: 0,
            }),
            event,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Readable when something was completed; [`Ring::reap`] makes it unreadable again.
    pub fn event(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// Makes a request; the kernel gets it with the next [`Ring::submit`]. Requests without data have an empty buffer.
    pub fn request(&self, op: Op, buffer: Aligned) -> Request<'_> {
        let mut state = self.state();
        let slot = state.free.pop().unwrap_or_else(|| {
            state.slots.push(Slot::default());
            state.slots.len() - 1
        });
        state.slots[slot] = Slot {
            op: Some(op),
            buffer,
            ..Slot::default()
        };
        state.waiting.push_back(slot);
        Request {
            ring: self,
            slot: Some(slot),
        }
    }

    /// Hands requests that wait to the kernel, as many as it has room for. `false`: it takes no more just now.
    ///
    /// # Errors
    /// What the kernel says of the ring; what becomes of requests is told to those who wait for them.
    pub fn submit(&self) -> io::Result<bool> {
        let mut state = self.state();
        loop {
            let pushed = state.push_waiting()?;
            if pushed == 0 && state.ring.submission().is_empty() {
                return Ok(true);
            }
            match state.ring.submit() {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EAGAIN)) => {
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes what the kernel has completed and wakes those who wait for it. How many there were.
    pub fn reap(&self) -> usize {
        let mut buffer = [0_u8; 8];
        // Nothing to read is fine, too.
        let _ = (&self.event).read(&mut buffer);
        let mut wakers = Vec::new();
        let count = self.state().take_completed(&mut wakers);
        wakers.into_iter().for_each(Waker::wake);
        count
    }

    /// Nothing more comes of the ring: all who wait are told why.
    pub fn fail(&self, errno: i32) {
        let mut wakers = Vec::new();
        let mut state = self.state();
        while let Some(slot) = state.waiting.pop_front() {
            state.complete(slot, Err(io::Error::from_raw_os_error(errno)), &mut wakers);
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl State {
    /// Enters waiting requests in the submission queue. How many.
    fn push_waiting(&mut self) -> io::Result<usize> {
        let mut pushed = 0;
        while self.running < self.most && !self.ring.submission().is_full() {
            let Some(slot) = self.waiting.pop_front() else {
                break;
            };
            let entry = self.entry(slot);
            if let Err(error) = push(&mut self.ring, &entry) {
                self.waiting.push_front(slot);
                return Err(error);
            }
            self.running += 1;
            pushed += 1;
        }
        Ok(pushed)
    }

    fn entry(&mut self, number: usize) -> squeue::Entry {
        let fd = types::Fd(self.file.as_raw_fd());
        let slot = &mut self.slots[number];
        let bytes = slot.buffer.bytes_mut();
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let entry = match slot.op {
            Some(Op::Read(offset)) => opcode::Read::new(fd, bytes.as_mut_ptr(), len)
                .offset(offset)
                .build(),
            Some(Op::Write(offset)) => opcode::Write::new(fd, bytes.as_ptr(), len)
                .offset(offset)
                .build(),
            Some(Op::Sync) => opcode::Fsync::new(fd)
                .flags(types::FsyncFlags::DATASYNC)
                .build(),
            None => opcode::Nop::new().build(),
        };
        entry.user_data(number as u64)
    }

    fn take_completed(&mut self, wakers: &mut Vec<Waker>) -> usize {
        let mut count = 0;
        loop {
            let Some(entry) = self.ring.completion().next() else {
                return count;
            };
            count += 1;
            self.running = self.running.saturating_sub(1);
            let result = match usize::try_from(entry.result()) {
                Ok(n) => Ok(n),
                Err(_) => Err(io::Error::from_raw_os_error(-entry.result())),
            };
            let slot = usize::try_from(entry.user_data()).unwrap_or(usize::MAX);
            self.complete(slot, result, wakers);
        }
    }

    fn complete(&mut self, number: usize, result: io::Result<usize>, wakers: &mut Vec<Waker>) {
        let Some(slot) = self.slots.get_mut(number) else {
            return;
        };
        if slot.given_up {
            *slot = Slot::default();
            self.free.push(number);
            return;
        }
        slot.result = Some(result);
        wakers.extend(slot.waker.take());
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if self.running > 0 {
            // The kernel may still write into them.
            std::mem::forget(std::mem::take(&mut self.slots));
        }
    }
}

impl Future for Request<'_> {
    type Output = Done;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Done> {
        let ring = self.ring;
        let mut state = ring.state();
        let Some(number) = self.slot else {
            return Poll::Pending;
        };
        let slot = &mut state.slots[number];
        let Some(result) = slot.result.take() else {
            slot.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        let buffer = std::mem::take(slot).buffer;
        state.free.push(number);
        drop(state);
        self.slot = None;
        Poll::Ready((result, buffer))
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        let Some(number) = self.slot else { return };
        let mut state = self.ring.state();
        if let Some(at) = state.waiting.iter().position(|slot| *slot == number) {
            state.waiting.remove(at);
        } else if state.slots[number].result.is_none() {
            state.slots[number].given_up = true;
            return;
        }
        state.slots[number] = Slot::default();
        state.free.push(number);
    }
}

/// Enters a request whose memory stays where it is until it is completed.
fn push(ring: &mut IoUring, entry: &squeue::Entry) -> io::Result<()> {
    // SAFETY: the memory is on the heap, owned by a slot that nothing touches until the kernel has completed it, or the
    // entry (a no-op) uses none; the descriptor is kept open by the ring's owner.
    unsafe { ring.submission().push(entry) }.map_err(|_| io::ErrorKind::WouldBlock.into())
}

fn event() -> io::Result<File> {
    // SAFETY: takes no memory.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, and nobody else's.
    Ok(unsafe { File::from_raw_fd(fd) })
}
