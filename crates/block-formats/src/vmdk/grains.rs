//! Grains: what their entries mean, and the packed ones.

use std::cell::RefCell;
use std::io;

use libdeflater::{CompressionLvl, Compressor, Decompressor};

use super::extent::Sparse;
use crate::blocks::{Cell, errno};
use crate::bytes::{le32, put_le32, put_le64};

/// Bytes of the marker before a packed grain.
pub(super) const MARKER: usize = 12;
/// The entry of a grain of zeroes.
pub(super) const ZERO: u64 = 1;

const LEVEL: i32 = 6;

thread_local! {
    static PACKER: RefCell<Compressor> =
        RefCell::new(Compressor::new(CompressionLvl::new(LEVEL).unwrap_or_default()));
    static UNPACKER: RefCell<(Decompressor, Vec<u8>)> =
        RefCell::new((Decompressor::new(), Vec::new()));
}

impl Sparse {
    /// What an entry says.
    pub(super) fn cell(&self, raw: u64) -> Cell {
        match raw {
            0 => Cell::Free,
            ZERO if self.zero_grains => Cell::Zero,
            sector if !self.core.is_inside(sector * 512) => Cell::Bad,
            sector if self.packed => Cell::Packed(sector * 512, 0),
            sector => Cell::Data(sector * 512),
        }
    }
}

/// Packs a grain onto the end of `out`, with room for its marker before it.
pub(super) fn pack(grain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    PACKER.with_borrow_mut(|packer| {
        let start = out.len() + MARKER;
        out.resize(start + packer.zlib_compress_bound(grain.len()), 0);
        let packed = packer.zlib_compress(grain, &mut out[start..]);
        let len = packed.map_err(|_| errno(22))?;
        out.truncate(start + len);
        Ok(())
    })
}

/// Writes the marker: the grain's first sector and the length of what follows.
pub(super) fn mark(packed: &mut [u8], sector: u64) {
    let len = u32::try_from(packed.len().saturating_sub(MARKER)).unwrap_or(u32::MAX);
    put_le64(packed, 0, sector);
    put_le32(packed, 8, len);
}

/// Unpacks a grain; `packed` may go on behind it. The last grain of an extent may be stored whole or cut: what `grain`
/// has room for must be there.
pub(super) fn unpack(
    packed: &[u8],
    markers: bool,
    whole: usize,
    grain: &mut [u8],
) -> io::Result<()> {
    let stream = if markers {
        let len = le32(packed, 8) as usize;
        let rest = packed.get(MARKER..).unwrap_or_default();
        rest.get(..len)
            .filter(|s| !s.is_empty())
            .ok_or_else(|| errno(22))?
    } else {
        packed
    };
    UNPACKER.with_borrow_mut(|(unpacker, scratch)| {
        if grain.len() == whole {
            let len = unpacker.zlib_decompress(stream, grain);
            return match len {
                Ok(len) if len == grain.len() => Ok(()),
                _ => Err(errno(22)),
            };
        }
        scratch.resize(whole, 0);
        match unpacker.zlib_decompress(stream, scratch) {
            Ok(len) if len >= grain.len() => {
                grain.copy_from_slice(&scratch[..grain.len()]);
                Ok(())
            }
            _ => Err(errno(22)),
        }
    })
}
