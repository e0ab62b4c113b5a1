//! `preallocate`: a file that grows grows by large steps, so that the file system is asked seldom; what was not used is
//! given back at the end.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use block_core::{
    BoxFuture, Edge, Filter, FilterDriver, FilterOpen, Perms, Preallocation, WriteFlags, ZeroFlags,
};
use qapi::{Error, opts};
use tokio::sync::Mutex as Turn;

/// The driver.
pub(crate) const PREALLOCATE: FilterDriver = FilterDriver {
    name: "preallocate",
    parse_filename: None,
    open: |request| Box::pin(open(request)),
    strong: &[],
    files: &[],
    plain_name: |_, _| None,
};

const SECTOR: u64 = 512;

/// What is known of the file.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    /// End of what was written: the length that parents see.
    data_end: Option<u64>,
    /// From here to `file_end` everything reads as zeroes.
    zero_start: Option<u64>,
    /// The file's real end.
    file_end: Option<u64>,
}

struct Preallocate {
    file: Arc<Edge>,
    align: u64,
    size: u64,
    known: Mutex<Known>,
    /// One makes the file grow at a time.
    growing: Turn<()>,
}

async fn open(request: FilterOpen<'_>) -> qapi::Result<Box<dyn Filter>> {
    let options = request.options;
    let file = request
        .gate
        .open_filtered("file", options.remove("file"), None, false)
        .await?;
    let align = opts::take_size(options, "prealloc-align")?.unwrap_or(1 << 20);
    let size = opts::take_size(options, "prealloc-size")?.unwrap_or(128 << 20);
    let wrong = |what: String| {
        Error::new(format!(
            "prealloc-align parameter of preallocate filter is not aligned to {what}"
        ))
        .errno(22)
    };
    if !align.is_multiple_of(SECTOR) {
        return Err(wrong(SECTOR.to_string()));
    }
    let below = file.node().request_alignment();
    if !align.is_multiple_of(u64::from(below)) {
        return Err(wrong(format!(
            "underlying node request alignment ({below})"
        )));
    }
    Ok(Box::new(Preallocate {
        file,
        align,
        size,
        known: Mutex::new(Known::default()),
        growing: Turn::new(()),
    }))
}

impl Preallocate {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the file is ours to change: nobody else can write or resize it.
    fn owns(&self) -> bool {
        let (used, _) = self.file.perms();
        used.contains(Perms::WRITE | Perms::RESIZE)
    }

    /// Before a write. `merge`: it is of zeroes; the answer is whether they are there already.
    async fn before_write(&self, offset: u64, len: u64, merge: bool) -> bool {
        if !self.owns() {
            return false;
        }
        let _growing = self.growing.lock().await;
        let Some((start, end)) = self.plan(offset, offset.saturating_add(len), merge) else {
            let known = *self.known();
            let zero = known.zero_start.is_some_and(|zero| offset >= zero);
            let inside = known.file_end.is_some_and(|end| offset + len <= end);
            return merge && zero && inside;
        };
        let flags = ZeroFlags {
            no_fallback: true,
            ..ZeroFlags::default()
        };
        let made = self.file.write_zeroes(start, end - start, flags).await;
        self.known().file_end = made.is_ok().then_some(end);
        made.is_ok() && merge && start <= offset
    }

    /// Takes note of a write, and says which part of the file is to be made beforehand.
    fn plan(&self, offset: u64, end: u64, merge: bool) -> Option<(u64, u64)> {
        let mut known = self.known();
        let length = || self.file.node().length().ok();
        let data_end = match known.data_end {
            Some(end) => end,
            None => length()?,
        };
        known.data_end = Some(data_end);
        let file_end = match known.file_end {
            Some(end) => end,
            None => length()?,
        };
        known.file_end = Some(file_end);
        if end <= data_end {
            return None;
        }
        known.data_end = Some(end);
        if known.zero_start.is_none() || !merge {
            known.zero_start = Some(end);
        }
        if end <= file_end {
            return None;
        }
        let below = u64::from(self.file.node().request_alignment());
        let first = if merge {
            offset.min(file_end)
        } else {
            file_end
        };
        let start = first.checked_next_multiple_of(below)?;
        let step = self.align.max(below);
        let wanted = start.max(end).checked_add(self.size)?;
        Some((start, wanted.checked_next_multiple_of(step)?))
    }

    /// Gives back what was made and not used.
    async fn drop_unused(&self) -> qapi::Result<()> {
        let known = *self.known();
        let Some(data_end) = known.data_end else {
            return Ok(());
        };
        let length = || self.file.node().length();
        let file_end = match known.file_end {
            Some(end) => end,
            None => length().map_err(|e| Error::from_io("Failed to get file length", &e))?,
        };
        if data_end < file_end {
            self.file.truncate(data_end, Preallocation::Off).await?;
        }
        self.known().file_end = Some(data_end);
        Ok(())
    }

    async fn resize(&self, len: u64, preallocation: Preallocation) -> qapi::Result<()> {
        let _growing = self.growing.lock().await;
        let known = *self.known();
        if let Some(data_end) = known.data_end
            && len > data_end
        {
            let enough = known.file_end.is_some_and(|end| len <= end);
            if preallocation == Preallocation::Falloc && enough {
                self.known().data_end = Some(len);
                return Ok(());
            }
            if preallocation != Preallocation::Falloc {
                self.drop_unused().await.map_err(|e| {
                    e.prefix("preallocate-filter: failed to drop write-zero preallocation: ")
                })?;
            }
        }
        let result = self.file.truncate(len, preallocation).await;
        let end = Some(len).filter(|_| result.is_ok() && self.owns());
        *self.known() = Known {
            data_end: end,
            zero_start: end,
            file_end: end,
        };
        result
    }
}

impl Filter for Preallocate {
    fn child(&self) -> &Arc<Edge> {
        &self.file
    }

    fn child_perms(&self, _child: &Edge, used: Perms, shared: Perms) -> (Perms, Perms) {
        let storage = Perms::WRITE | Perms::RESIZE;
        if used.contains(storage) || self.known().data_end.is_some() {
            return (used | storage, shared - storage);
        }
        (used, shared)
    }

    fn length(&self) -> io::Result<u64> {
        let known = self.known().data_end;
        match known {
            Some(end) => Ok(end),
            None => self.file.node().length(),
        }
    }

    fn write<'a>(
        &'a self,
        offset: u64,
        buf: &'a [u8],
        flags: WriteFlags,
    ) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            self.before_write(offset, buf.len() as u64, false).await;
            self.file.write(offset, buf, flags).await
        })
    }

    fn write_zeroes(
        &self,
        offset: u64,
        len: u64,
        flags: ZeroFlags,
    ) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let merge = !flags.may_unmap && !flags.fua;
            if self.before_write(offset, len, merge).await {
                return Ok(());
            }
            self.file.write_zeroes(offset, len, flags).await
        })
    }

    fn truncate(&self, len: u64, preallocation: Preallocation) -> BoxFuture<'_, qapi::Result<()>> {
        Box::pin(self.resize(len, preallocation))
    }

    fn close(&self) -> BoxFuture<'_, qapi::Result<()>> {
        Box::pin(async move {
            if !self.owns() {
                return Ok(());
            }
            self.drop_unused()
                .await
                .map_err(|e| e.prefix("Failed to drop preallocation: "))
        })
    }
}
