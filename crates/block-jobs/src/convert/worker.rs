//! One worker of a conversion: reads a piece, finds what need not be stored, and writes what is due.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use block_core::{CIPHER_UNIT, Root, WriteFlags, ZeroFlags, is_zero};
use qapi::Error;

use super::ahead::{Ahead, Next};
use super::plan::{Content, Piece};
use super::{ConvertError, ConvertOptions, Initial, Order, SECTOR, Setup, Source, Zeroes};
use crate::desk::{Desk, Trays};
use crate::watch::{Pace, Watch};

/// What all workers of a conversion use.
pub(super) struct Shared {
    pub(super) ahead: Ahead,
    pub(super) sources: Vec<Source>,
    pub(super) target: Arc<Root>,
    pub(super) options: ConvertOptions,
    pub(super) setup: Setup,
    pub(super) watch: Arc<dyn Watch>,
    pub(super) desk: Desk<Ready>,
    pub(super) trays: Trays<Scratch>,
    pub(super) pace: Pace,
    pub(super) done: std::sync::Mutex<u64>,
    pub(super) total: u64,
    /// Copying by the kernel has not been refused yet.
    pub(super) offload: AtomicBool,
}

/// One thing to do for a part of a piece when its turn comes.
enum Step {
    Write,
    /// Enciphered already.
    WriteEnciphered,
    /// Packed bytes, by range in the worker's arena.
    Store(std::ops::Range<usize>),
    /// Whole cluster that the target packs itself.
    Pack,
    Zero,
}

struct Action {
    at: usize,
    len: usize,
    step: Step,
}

/// A piece that can be written.
pub(super) struct Ready {
    piece: Piece,
    /// Progress counts it.
    counted: bool,
    /// The kernel is to copy it; nothing was read.
    offload: bool,
    scratch: Scratch,
}

/// Memory for a piece, kept for the next one.
#[derive(Default)]
pub(super) struct Scratch {
    buf: Vec<u8>,
    /// Packed clusters, one behind the other.
    arena: Vec<u8>,
    actions: Vec<Action>,
}

/// Takes pieces until there are no more.
pub(super) async fn run(shared: Arc<Shared>) -> Result<(), ConvertError> {
    let result = loop {
        let Some(scratch) = shared.trays.take().await else {
            break Ok(());
        };
        match shared.one(scratch).await {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    if result.is_err() {
        shared.trays.close();
    }
    result
}

impl Shared {
    /// Gets one piece ready, and writes what is due; `false` when there is none left.
    async fn one(&self, mut scratch: Scratch) -> Result<bool, ConvertError> {
        if self.watch.cancelled() {
            return Err(ConvertError::Cancelled);
        }
        let Some((piece, counted)) = self.next_piece().await? else {
            self.trays.give(scratch);
            self.trays.look();
            return Ok(false);
        };
        let offload = piece.content == Content::Data && self.offload.load(Ordering::Relaxed);
        if !offload {
            self.make_ready(&piece, &mut scratch).await?;
        }
        let number = piece.number;
        let ready = Ready {
            piece,
            counted,
            offload,
            scratch,
        };
        if self.options.order == Order::Any {
            let scratch = self.finish(ready).await?;
            self.trays.give(scratch);
            return Ok(true);
        }
        self.desk.put(number, ready);
        while let Some(due) = self.desk.take() {
            let scratch = self.finish(due).await?;
            self.desk.done();
            self.trays.give(scratch);
            if self.trays.is_closed() {
                return Ok(false);
            }
        }
        self.trays.look();
        Ok(true)
    }

    async fn next_piece(&self) -> Result<Option<(Piece, bool)>, ConvertError> {
        let cut = self.ahead.next().await;
        for warning in cut.warnings {
            self.watch.warn(&warning);
        }
        match cut.next? {
            Next::Piece { piece, counted } => Ok(Some((piece, counted))),
            Next::End(position) => {
                if !self.options.count_first {
                    self.watch.progress(position, self.total);
                }
                Ok(None)
            }
        }
    }

    /// Brings a piece to the target, and gives its memory back.
    async fn finish(&self, ready: Ready) -> Result<Scratch, ConvertError> {
        let Ready {
            piece,
            counted,
            offload,
            mut scratch,
        } = ready;
        if offload {
            self.copy_by_kernel(&piece, &mut scratch).await?;
        } else {
            self.act(&piece, &scratch).await?;
        }
        self.tell(&piece, counted);
        Ok(scratch)
    }

    fn tell(&self, piece: &Piece, counted: bool) {
        if !self.options.count_first {
            self.watch.progress(piece.to + piece.len, self.total);
        } else if counted {
            // Told inside the lock, so that no step comes after a later one.
            let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            *done += piece.len;
            if piece.told {
                self.watch.progress(*done, self.total);
            }
        }
    }

    /// Fills the buffer and lists what is to be done with it.
    async fn make_ready(&self, piece: &Piece, scratch: &mut Scratch) -> Result<(), ConvertError> {
        scratch.actions.clear();
        let len = usize::try_from(piece.len).unwrap_or(usize::MAX);
        if piece.content == Content::Zero && self.options.zeroes != Zeroes::Store {
            let step = Step::Zero;
            scratch.actions.push(Action { at: 0, len, step });
            return Ok(());
        }
        if scratch.buf.len() < len {
            // All at once: memory that is never touched costs nothing, a copy of what is there does.
            let most = usize::try_from(self.setup.buffer).unwrap_or(len);
            scratch.buf = vec![0; most.max(len)];
        }
        if piece.content == Content::Zero {
            scratch.buf[..len].fill(0);
        } else {
            let result = self.read(piece, &mut scratch.buf[..len]).await;
            result.map_err(|e| ConvertError::Read(piece.named, e))?;
        }
        if self.setup.cluster.is_some() {
            return self.pack(piece, len, scratch);
        }
        self.find_runs(piece, len, scratch);
        self.encipher(piece, scratch)
    }

    /// Lists the runs of data and zeroes of the buffer.
    fn find_runs(&self, piece: &Piece, len: usize, scratch: &mut Scratch) {
        let Some(sparse) = self.setup.sparse else {
            let step = Step::Write;
            scratch.actions.push(Action { at: 0, len, step });
            return;
        };
        let mut at = 0;
        while at < len {
            let run = sparse.first_run(&scratch.buf[at..len], piece.to + at as u64);
            self.push(
                scratch,
                at,
                run.len,
                if run.data { Step::Write } else { Step::Zero },
            );
            at += run.len;
        }
    }

    /// Enciphers what is to be written, on this worker's own time.
    fn encipher(&self, piece: &Piece, scratch: &mut Scratch) -> Result<(), ConvertError> {
        if !self.setup.encipher {
            return Ok(());
        }
        for action in &mut scratch.actions {
            let to = piece.to + action.at as u64;
            let whole = (to | action.len as u64).is_multiple_of(CIPHER_UNIT);
            if whole && matches!(action.step, Step::Write) {
                let bytes = &mut scratch.buf[action.at..action.at + action.len];
                let done = self.target.encipher(to, bytes);
                done.map_err(|e| ConvertError::Write(to, e))?;
                action.step = Step::WriteEnciphered;
            }
        }
        Ok(())
    }

    /// Zeroes are only work where the target may hold something else.
    fn push(&self, scratch: &mut Scratch, at: usize, len: usize, step: Step) {
        if !matches!(step, Step::Zero) || self.options.initial != Initial::Zero {
            scratch.actions.push(Action { at, len, step });
        }
    }

    /// Reads a piece, from one source after the other.
    async fn read(&self, piece: &Piece, mut buf: &mut [u8]) -> io::Result<()> {
        let mut from = piece.from;
        for (index, source) in self.sources.iter().enumerate().skip(piece.source) {
            if index > piece.source {
                from = source.from;
            }
            let end = source.from + source.len.next_multiple_of(SECTOR);
            let now = usize::try_from(end.saturating_sub(from)).unwrap_or(usize::MAX);
            let (part, rest) = buf.split_at_mut(now.min(buf.len()));
            self.read_one(source, from, part).await?;
            buf = rest;
            if buf.is_empty() {
                return Ok(());
            }
        }
        buf.fill(0);
        Ok(())
    }

    /// Reads of one source; what its last sector has past its end is zero.
    async fn read_one(&self, source: &Source, from: u64, buf: &mut [u8]) -> io::Result<()> {
        let inside = (source.from + source.len).saturating_sub(from);
        let inside = usize::try_from(inside).unwrap_or(usize::MAX).min(buf.len());
        let (buf, beyond) = buf.split_at_mut(inside);
        beyond.fill(0);
        match source.root.read(from, buf).await {
            Err(_) if self.options.salvage => self.salvage(&source.root, from, buf).await,
            other => other,
        }
    }

    /// Reads sector by sector; what cannot be read becomes zeroes.
    async fn salvage(&self, source: &Root, from: u64, buf: &mut [u8]) -> io::Result<()> {
        let sector = usize::try_from(SECTOR).unwrap_or(512);
        for (index, part) in buf.chunks_mut(sector).enumerate() {
            let skip = (index * sector) as u64;
            if let Err(error) = source.read(from + skip, part).await {
                let what = format!("error while reading offset {}", from + skip);
                self.watch.warn(Error::from_io(what, &error).message());
                part.fill(0);
            }
        }
        Ok(())
    }

    /// Packs cluster by cluster, on this worker's own time.
    fn pack(&self, piece: &Piece, len: usize, scratch: &mut Scratch) -> Result<(), ConvertError> {
        let cluster = self
            .setup
            .cluster
            .map_or(len, |c| usize::try_from(c).unwrap_or(len));
        scratch.arena.clear();
        let mut at = 0;
        while at < len {
            let now = cluster.min(len - at);
            let buf = &scratch.buf[at..at + now];
            let step = if self.setup.sparse.is_some() && is_zero(buf) {
                Step::Zero
            } else {
                let to = piece.to + at as u64;
                let start = scratch.arena.len();
                match self.target.pack(to, buf, &mut scratch.arena) {
                    Ok(true) => Step::Store(start..scratch.arena.len()),
                    Ok(false) => Step::Write,
                    Err(e) if e.kind() == io::ErrorKind::Unsupported => Step::Pack,
                    Err(e) => return Err(ConvertError::Write(to, e)),
                }
            };
            self.push(scratch, at, now, step);
            at += now;
        }
        Ok(())
    }

    /// Brings a piece to the target.
    async fn act(&self, piece: &Piece, scratch: &Scratch) -> Result<(), ConvertError> {
        for action in &scratch.actions {
            let to = piece.to + action.at as u64;
            let bytes = action.at..action.at + action.len;
            let target = &self.target;
            let result = match &action.step {
                Step::Zero => {
                    let flags = ZeroFlags {
                        may_unmap: self.options.zeroes == Zeroes::AsTold,
                        ..ZeroFlags::default()
                    };
                    target.write_zeroes(to, action.len as u64, flags).await
                }
                Step::Write => {
                    self.pace.wait(action.len as u64).await;
                    target
                        .write(to, &scratch.buf[bytes], WriteFlags::default())
                        .await
                }
                Step::WriteEnciphered => {
                    self.pace.wait(action.len as u64).await;
                    target.write_enciphered(to, &scratch.buf[bytes]).await
                }
                Step::Store(packed) => {
                    self.pace.wait(action.len as u64).await;
                    target
                        .store_packed(to, &scratch.arena[packed.clone()])
                        .await
                }
                Step::Pack => target.write_compressed(to, &scratch.buf[bytes]).await,
            };
            result.map_err(|e| ConvertError::Write(to, e))?;
        }
        Ok(())
    }

    /// Lets the kernel copy a piece; when it will not, this and all later pieces are read and written.
    async fn copy_by_kernel(
        &self,
        piece: &Piece,
        scratch: &mut Scratch,
    ) -> Result<(), ConvertError> {
        let source = &self.sources[piece.source].root;
        let mut done = 0;
        while done < piece.len {
            let (to, from, left) = (piece.to + done, piece.from + done, piece.len - done);
            self.pace.wait(left).await;
            match self.target.copy_from(to, source, from, left).await {
                Ok(copied) if copied > 0 => done += copied.min(left),
                _ => {
                    self.offload.store(false, Ordering::Relaxed);
                    self.make_ready(piece, scratch).await?;
                    return self.act(piece, scratch).await;
                }
            }
        }
        Ok(())
    }
}
