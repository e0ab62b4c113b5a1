//! What the driver asks for, read and checked.

use backend_core::disk::{Geometry, Io, Op};
use hw_core::bits::{low8, low16, low32};
use hw_core::memory::Dma;

use super::{BlkOptions, MOST_BYTES, SECTOR};
use crate::queue::Chain;

pub(super) const OK: u8 = 0;
pub(super) const IO_ERROR: u8 = 1;
const UNSUPPORTED: u8 = 2;

const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH: u32 = 4;
const GET_ID: u32 = 8;
const DISCARD: u32 = 11;
const WRITE_ZEROES: u32 = 13;
/// Set by very old drivers; says nothing.
const BARRIER: u32 = 0x8000_0000;

/// Bytes of the header.
const HEADER: u64 = 16;
/// Bytes of a range to discard or zero: sector u64, sectors u32, flags u32 (1 unmap).
const RANGE: u64 = 16;
/// Sectors that one range may have.
const MOST_SECTORS: u32 = 4_194_303;
/// Place of the cache byte in the configuration.
pub(super) const WCE_AT: usize = 32;

/// A request, understood.
pub(super) enum Taken {
    /// It ends at once with this status.
    Answer(u8),
    /// It asks for the identity.
    Id,
    /// It is done by these, one after the other.
    Steps(Vec<Step>),
}

/// One request to the backend.
pub(super) struct Step {
    pub(super) op: Op,
    offset: u64,
    len: u64,
    data: Vec<u8>,
}

impl Step {
    pub(super) fn flush() -> Self {
        Self {
            op: Op::Flush,
            offset: 0,
            len: 0,
            data: Vec::new(),
        }
    }

    pub(super) fn into_io(self, token: u64) -> Io {
        Io {
            token,
            op: self.op,
            offset: self.offset,
            len: self.len,
            data: self.data,
        }
    }
}

/// Reads a request out of the guest's memory, once.
pub(super) fn take(chain: &Chain, dma: &Dma, disk: &Geometry, block: u64) -> Taken {
    let mut header = [0; 16];
    match chain.read(dma, 0, &mut header) {
        Ok(16) if chain.writable_bytes() > 0 => {}
        _ => return Taken::Answer(IO_ERROR),
    }
    let number = u128::from_le_bytes(header);
    let word = u64::try_from(number & u128::from(u64::MAX)).unwrap_or(0);
    let sector = u64::try_from(number >> 64).unwrap_or(0);
    let kind = low32(word) & !BARRIER;
    let steps = match kind {
        IN => read(chain, sector, disk, block),
        OUT => write(chain, dma, sector, disk, block),
        FLUSH => Ok(vec![Step::flush()]),
        GET_ID => return Taken::Id,
        DISCARD | WRITE_ZEROES => ranges(chain, dma, kind, disk),
        _ => Err(UNSUPPORTED),
    };
    match steps {
        Ok(steps) => Taken::Steps(steps),
        Err(status) => Taken::Answer(status),
    }
}

/// The place of `len` bytes at `sector`, if they lie on the disk in whole blocks.
fn place(sector: u64, len: u64, disk: &Geometry, block: u64) -> Result<u64, u8> {
    let offset = sector.checked_mul(SECTOR).ok_or(IO_ERROR)?;
    let end = offset.checked_add(len).ok_or(IO_ERROR)?;
    let whole = offset.is_multiple_of(block.max(1)) && len.is_multiple_of(block.max(1));
    if end > disk.bytes || !whole {
        return Err(IO_ERROR);
    }
    Ok(offset)
}

/// A buffer that the guest's lengths ask for, within what may be under way.
fn buffer(len: u64) -> Result<Vec<u8>, u8> {
    if len > MOST_BYTES {
        return Err(IO_ERROR);
    }
    Ok(vec![0; usize::try_from(len).map_err(|_| IO_ERROR)?])
}

fn read(chain: &Chain, sector: u64, disk: &Geometry, block: u64) -> Result<Vec<Step>, u8> {
    let len = chain.writable_bytes() - 1;
    let offset = place(sector, len, disk, block)?;
    Ok(vec![Step {
        op: Op::Read,
        offset,
        len,
        data: buffer(len)?,
    }])
}

fn write(
    chain: &Chain,
    dma: &Dma,
    sector: u64,
    disk: &Geometry,
    block: u64,
) -> Result<Vec<Step>, u8> {
    let len = chain.readable_bytes() - HEADER;
    let offset = place(sector, len, disk, block)?;
    if disk.read_only {
        return Err(IO_ERROR);
    }
    let mut data = buffer(len)?;
    chain.read(dma, HEADER, &mut data).map_err(|_| IO_ERROR)?;
    Ok(vec![Step {
        op: Op::Write,
        offset,
        len,
        data,
    }])
}

/// One range to discard or zero: the configuration says that a request has no more.
fn ranges(chain: &Chain, dma: &Dma, kind: u32, disk: &Geometry) -> Result<Vec<Step>, u8> {
    if chain.readable_bytes() != HEADER + RANGE {
        return Err(UNSUPPORTED);
    }
    let mut raw = [0; 16];
    chain.read(dma, HEADER, &mut raw).map_err(|_| IO_ERROR)?;
    let number = u128::from_le_bytes(raw);
    let sector = u64::try_from(number & u128::from(u64::MAX)).unwrap_or(0);
    let rest = u64::try_from(number >> 64).unwrap_or(0);
    let (sectors, flags) = (low32(rest), low32(rest >> 32));
    let unmap = flags & 1 != 0;
    if flags & !1 != 0 || (kind == DISCARD && unmap) {
        return Err(UNSUPPORTED);
    }
    if sectors > MOST_SECTORS || disk.read_only {
        return Err(IO_ERROR);
    }
    let len = u64::from(sectors) * SECTOR;
    let offset = place(sector, len, disk, SECTOR)?;
    let op = match kind {
        DISCARD => Op::Discard,
        _ => Op::Zeroes { unmap },
    };
    Ok(vec![Step {
        op,
        offset,
        len,
        data: Vec::new(),
    }])
}

/// The configuration space (VIRTIO 1.2, 5.2.4).
pub(super) fn config(disk: &Geometry, options: &BlkOptions, write_back: bool) -> Vec<u8> {
    let sectors = disk.bytes / SECTOR;
    let (heads, track) = (16_u8, 63_u8);
    let cylinders = (sectors / (u64::from(heads) * u64::from(track))).min(16383);
    let mut out = Vec::with_capacity(60);
    out.extend(sectors.to_le_bytes());
    out.extend(0_u32.to_le_bytes());
    out.extend(u32::from(options.queue_size.saturating_sub(2)).to_le_bytes());
    out.extend(low16(cylinders).to_le_bytes());
    out.extend([heads, track]);
    out.extend(options.logical_block.to_le_bytes());
    // No larger physical blocks, no offset; transfers of one block at least, no best size.
    out.extend([0, 0]);
    out.extend(1_u16.to_le_bytes());
    out.extend(0_u32.to_le_bytes());
    out.extend([low8(write_back.into()), 0]);
    out.extend(options.queues.to_le_bytes());
    let aligned = options.logical_block / 512;
    for value in [MOST_SECTORS, 1, aligned, MOST_SECTORS, 1] {
        out.extend(value.to_le_bytes());
    }
    out.extend([1, 0, 0, 0]);
    out
}
