//! Segments and notes of an ELF executable for x86, of 32 or 64 bits.

use super::{LoadError, Piece, word};

const LOAD: u32 = 1;
const NOTE: u32 = 4;
/// Program headers at most.
const MOST_HEADERS: u32 = 128;

#[derive(Debug, Clone, Copy)]
struct Segment {
    kind: u32,
    offset: u64,
    physical: u64,
    in_file: u64,
    in_memory: u64,
    align: u64,
}

/// An executable.
pub(super) struct Elf<'a> {
    image: &'a [u8],
    wide: bool,
    segments: Vec<Segment>,
}

fn long(image: &[u8], at: usize) -> u64 {
    u64::from(word(image, at, 4)) | u64::from(word(image, at.saturating_add(4), 4)) << 32
}

fn index(value: u64) -> Result<usize, LoadError> {
    usize::try_from(value).map_err(|_| LoadError::Damaged)
}

impl<'a> Elf<'a> {
    /// Reads the headers; `None` when the file is no ELF.
    pub(super) fn read(image: &'a [u8]) -> Result<Option<Self>, LoadError> {
        if image.get(..4) != Some(b"\x7fELF") {
            return Ok(None);
        }
        let wide = match image.get(4..6) {
            Some([1, 1]) => false,
            Some([2, 1]) => true,
            _ => return Err(LoadError::Damaged),
        };
        let (table, size, count) = if wide {
            (long(image, 32), word(image, 54, 2), word(image, 56, 2))
        } else {
            (
                u64::from(word(image, 28, 4)),
                word(image, 42, 2),
                word(image, 44, 2),
            )
        };
        let least = if wide { 56 } else { 32 };
        if size < least || count > MOST_HEADERS {
            return Err(LoadError::Damaged);
        }
        let mut segments = Vec::new();
        for n in 0..u64::from(count) {
            let at = table
                .checked_add(n * u64::from(size))
                .ok_or(LoadError::Damaged)?;
            let at = index(at)?;
            let header = at
                .checked_add(index(u64::from(least))?)
                .and_then(|end| image.get(at..end))
                .ok_or(LoadError::Damaged)?;
            segments.push(segment(header, wide));
        }
        Ok(Some(Self {
            image,
            wide,
            segments,
        }))
    }

    /// Whether it is of 64 bits.
    pub(super) fn wide(&self) -> bool {
        self.wide
    }

    /// The entry of the header.
    pub(super) fn entry(&self) -> u64 {
        if self.wide {
            long(self.image, 24)
        } else {
            u64::from(word(self.image, 24, 4))
        }
    }

    fn bytes(&self, segment: &Segment) -> Result<&'a [u8], LoadError> {
        let start = index(segment.offset)?;
        let end = start
            .checked_add(index(segment.in_file)?)
            .ok_or(LoadError::Damaged)?;
        self.image.get(start..end).ok_or(LoadError::Damaged)
    }

    /// Everything that is loaded, as one stretch of memory below `end`.
    pub(super) fn flatten(&self, end: u64) -> Result<Piece, LoadError> {
        let loads: Vec<&Segment> = self
            .segments
            .iter()
            .filter(|segment| segment.kind == LOAD && segment.in_memory > 0)
            .collect();
        let start = loads.iter().map(|segment| segment.physical).min();
        let start = start.ok_or(LoadError::Damaged)?;
        let mut data = Vec::new();
        for segment in loads {
            let last = segment
                .physical
                .checked_add(segment.in_memory)
                .ok_or(LoadError::Damaged)?;
            if last > end {
                return Err(LoadError::TooLarge);
            }
            if segment.in_file > segment.in_memory {
                return Err(LoadError::Damaged);
            }
            let at = index(segment.physical - start)?;
            let size = index(last - start)?;
            if data.len() < size {
                data.resize(size, 0);
            }
            let bytes = self.bytes(segment)?;
            data[at..at + bytes.len()].copy_from_slice(bytes);
        }
        let address = u32::try_from(start).map_err(|_| LoadError::TooLarge)?;
        Ok(Piece { address, data })
    }

    /// The description of the note with this owner and type.
    pub(super) fn note(&self, owner: &[u8], kind: u32) -> Option<&'a [u8]> {
        let notes = self.segments.iter().filter(|segment| segment.kind == NOTE);
        for segment in notes {
            let align: usize = if segment.align == 8 { 8 } else { 4 };
            let Ok(mut rest) = self.bytes(segment) else {
                continue;
            };
            // Each round takes at least the header away.
            while rest.len() >= 12 {
                let (name, size) = (word(rest, 0, 4), word(rest, 4, 4));
                let (name, size) = (usize::try_from(name).ok()?, usize::try_from(size).ok()?);
                let at = 12_usize
                    .checked_add(name)?
                    .checked_next_multiple_of(align)?;
                let end = at.checked_add(size)?;
                let found = (rest.get(12..12_usize.checked_add(name)?), rest.get(at..end));
                let (Some(of), Some(description)) = found else {
                    break;
                };
                if of == owner && word(rest, 8, 4) == kind {
                    return Some(description);
                }
                let next = end.checked_next_multiple_of(align)?;
                rest = rest.get(next..).unwrap_or(&[]);
            }
        }
        None
    }
}

fn segment(header: &[u8], wide: bool) -> Segment {
    let narrow = |at| u64::from(word(header, at, 4));
    if wide {
        Segment {
            kind: word(header, 0, 4),
            offset: long(header, 8),
            physical: long(header, 24),
            in_file: long(header, 32),
            in_memory: long(header, 40),
            align: long(header, 48),
        }
    } else {
        Segment {
            kind: word(header, 0, 4),
            offset: narrow(4),
            physical: narrow(12),
            in_file: narrow(16),
            in_memory: narrow(20),
            align: narrow(28),
        }
    }
}
