//! raw: the bytes of a disk as they are, or a window of them.
//!
//! Options: `offset` and `size`, both multiples of 512, cut a window out of the file. A raw image that was only guessed
//! refuses writes that would make its first sector look like another format's header, because the next open would
//! then read it as that format.

use std::io;
use std::sync::Arc;

use block_core::{
    BoxFuture, CreateRequest, Edge, Event, Filter, MeasureRequest, MeasureResult, Node,
    Preallocation, Status, WriteFlags, ZeroFlags,
};
use qapi::{Dict, Error, OptionDesc, OptionKind, Value, opts};

/// Unit of lengths in bytes.
const SECTOR: u64 = 512;
const ENOSPC: i32 = 28;

/// What `-o help` shows for raw.
pub const CREATE_OPTIONS: &[OptionDesc] = &[OptionDesc {
    name: "size",
    kind: OptionKind::Size,
    help: "Virtual disk size",
    default: None,
}];

/// Whether bytes at the front of a disk make it look like another format.
type Looks = fn(&[u8]) -> bool;

/// A raw disk.
pub struct Raw {
    file: Arc<Edge>,
    offset: u64,
    /// Length of the window, if it is fixed.
    size: Option<u64>,
    /// The format was guessed: what must not be written to the first sector.
    guard: Option<Looks>,
}

/// Opens a disk over `file`, or the window of it that the options say.
///
/// # Errors
/// In QEMU's words.
pub fn open(file: Arc<Edge>, options: &mut Dict) -> qapi::Result<Box<dyn Filter>> {
    let offset = opts::take_size(options, "offset")?.unwrap_or(0);
    let size = opts::take_size(options, "size")?;
    let length = file
        .node()
        .length()
        .map_err(|e| Error::from_io("Could not get image size", &e))?;
    if offset > length {
        return Err(Error::new(format!(
            "Offset ({offset}) cannot be greater than size of the containing file ({length})"
        ))
        .errno(22));
    }
    if size.is_some_and(|size| size > length - offset) {
        return Err(Error::new(format!(
            "The sum of offset ({offset}) and size ({}) has to be smaller or equal to the  actual size of the containing file ({length})",
            size.unwrap_or(0)
        ))
        .errno(22));
    }
    if size.is_some_and(|size| !size.is_multiple_of(SECTOR)) {
        return Err(Error::new("Specified size is not multiple of 512").errno(22));
    }
    Ok(Box::new(Raw {
        file,
        offset,
        size,
        guard: None,
    }))
}

/// A raw disk whose format was guessed; `looks` tells what must not be written to its front.
pub fn guessed(file: Arc<Edge>, looks: Looks) -> Box<dyn Filter> {
    Box::new(Raw {
        file,
        offset: 0,
        size: None,
        guard: Some(looks),
    })
}

/// Makes a plain file of the asked size.
///
/// # Errors
/// In QEMU's words.
pub async fn create(request: CreateRequest<'_>) -> qapi::Result<()> {
    request
        .gate
        .create_file(request.filename, request.options)
        .await
        .map(|_file: Arc<Node>| ())
}

impl Raw {
    /// Nothing is written behind a window of fixed length, whatever a format above takes it for.
    fn fits(&self, offset: u64, len: u64) -> io::Result<()> {
        let end = offset.saturating_add(len);
        if self.size.is_some_and(|size| end > size) {
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        Ok(())
    }

    /// Whether a write may go on.
    async fn check(&self, offset: u64, bytes: Option<&[u8]>, len: u64) -> io::Result<()> {
        self.fits(offset, len)?;
        let Some(looks) = self.guard.filter(|_| offset < SECTOR && len > 0) else {
            return Ok(());
        };
        let mut head = [0; 512];
        self.file.read(0, &mut head).await?;
        let from = usize::try_from(offset).unwrap_or(512).min(512);
        let now = usize::try_from(len).unwrap_or(512).min(512 - from);
        match bytes {
            Some(bytes) => head[from..from + now].copy_from_slice(&bytes[..now]),
            None => head[from..from + now].fill(0),
        }
        if looks(&head) {
            return Err(io::Error::from_raw_os_error(1));
        }
        Ok(())
    }

    /// Part of a request that lies in the file: the last sector may be longer than it.
    fn inside(&self, offset: u64, len: u64) -> io::Result<u64> {
        let end = self.file.node().length()?.max(self.offset);
        Ok(len.min((end - self.offset).saturating_sub(offset)))
    }
}

impl Filter for Raw {
    fn child(&self) -> &Arc<Edge> {
        &self.file
    }

    fn length(&self) -> io::Result<u64> {
        match self.size {
            Some(size) => Ok(size),
            None => {
                let length = self.file.node().length()?.saturating_sub(self.offset);
                Ok(length.next_multiple_of(SECTOR))
            }
        }
    }

    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> BoxFuture<'a, io::Result<()>> {
        if !self.file.hears() {
            return self.file.read(self.offset + offset, buf);
        }
        Box::pin(async move {
            self.file.event(Event::ReadAio).await;
            self.file.read(self.offset + offset, buf).await
        })
    }

    fn write<'a>(
        &'a self,
        offset: u64,
        buf: &'a [u8],
        flags: WriteFlags,
    ) -> BoxFuture<'a, io::Result<()>> {
        if self.size.is_none() && (self.guard.is_none() || offset >= SECTOR) && !self.file.hears() {
            return self.file.write(self.offset + offset, buf, flags);
        }
        Box::pin(async move {
            self.check(offset, Some(buf), buf.len() as u64).await?;
            self.file.event(Event::WriteAio).await;
            self.file.write(self.offset + offset, buf, flags).await
        })
    }

    fn write_zeroes(
        &self,
        offset: u64,
        len: u64,
        flags: ZeroFlags,
    ) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            self.check(offset, None, len).await?;
            self.file
                .write_zeroes(self.offset + offset, len, flags)
                .await
        })
    }

    fn discard(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            self.check(offset, None, len).await?;
            let len = self.inside(offset, len)?;
            if len == 0 {
                return Ok(());
            }
            self.file.discard(self.offset + offset, len).await
        })
    }

    fn truncate(&self, len: u64, preallocation: Preallocation) -> BoxFuture<'_, qapi::Result<()>> {
        Box::pin(async move {
            if self.size.is_some() {
                return Err(Error::new("Cannot resize fixed-size raw disks").errno(95));
            }
            let Some(end) = len.checked_add(self.offset) else {
                return Err(Error::new("Disk size too large for the chosen offset").errno(22));
            };
            self.file.truncate(end, preallocation).await
        })
    }

    fn status(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<Status>> {
        Box::pin(async move {
            // What the last sector has past the file's end is told apart, unless the file itself goes by larger units.
            let inside = self.inside(offset, len)?;
            let asked = if inside > 0 { inside } else { len };
            let mut status = self.file.status(self.offset + offset, asked).await?;
            if status.len == inside && self.file.node().request_alignment() > 1 {
                status.len = len;
            }
            Ok(status)
        })
    }

    fn unit(&self) -> u32 {
        // Only whole sectors can be judged.
        if self.guard.is_some() { 512 } else { 1 }
    }

    fn shift(&self) -> Option<u64> {
        Some(self.offset)
    }
}

/// How large a raw file is: the disk, in whole sectors.
#[must_use]
pub fn measure(request: &MeasureRequest<'_>) -> MeasureResult {
    let size = match (&request.source, request.options.get("size")) {
        (Some(source), _) => source.length,
        (None, Some(Value::Uint(size))) => *size,
        (None, Some(Value::Int(size))) => u64::try_from(*size).unwrap_or(0),
        (None, _) => 0,
    };
    let size = size.next_multiple_of(512);
    MeasureResult {
        required: size,
        fully_allocated: size,
        bitmaps: None,
    }
}

#[cfg(test)]
mod tests;
