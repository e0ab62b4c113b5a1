//! Raw deflate streams of clusters (RFC 1951), and zlib streams (RFC 1950).
//!
//! Streams use the whole 32 KiB window of the format: every reader unpacks a cluster in one go, with all of its output at hand,
//! and the larger window packs better and several times faster than the 4 KiB that the reference limits itself to.

mod huffman;
mod records;

use std::cell::RefCell;
use std::io;

use libdeflater::{CompressionLvl, Compressor, Decompressor};

use records::{Coder, looks_like_records};

/// As small as zlib's default level makes it with a small window, in a fraction of the time.
const LEVEL: i32 = 6;
/// A look at what a coder can do with data, for a third of the time.
const QUICK_LEVEL: i32 = 1;

/// A worker's own state, made when it is used first.
#[derive(Default)]
struct Packers {
    usual: Option<Compressor>,
    quick: Option<Compressor>,
    records: Option<Coder>,
    /// What a second coder made.
    second: Vec<u8>,
}

thread_local! {
    static PACKERS: RefCell<Packers> = RefCell::new(Packers::default());
    static UNPACKER: RefCell<Decompressor> = RefCell::new(Decompressor::new());
}

/// Packs a cluster into `out`; `false` when it does not get smaller.
pub(crate) fn pack(cluster: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.resize(start + cluster.len(), 0);
    let packed = PACKERS.with_borrow_mut(|packers| packers.pack(cluster, &mut out[start..]));
    let packed = packed.filter(|len| *len < cluster.len());
    out.truncate(start + packed.unwrap_or(0));
    packed.is_some()
}

impl Packers {
    /// Packs into `out`, which has the length of `cluster`. `None`: it does not fit.
    fn pack(&mut self, cluster: &[u8], out: &mut [u8]) -> Option<usize> {
        if !looks_like_records(cluster) {
            return deflate(&mut self.usual, LEVEL, cluster, out);
        }
        let coder = self.records.get_or_insert_default();
        let Some(records) = coder.code(cluster, out) else {
            return deflate(&mut self.usual, LEVEL, cluster, out);
        };
        self.second.resize(cluster.len(), 0);
        let second = &mut self.second[..];
        // So much smaller than what is easy to have: nothing else will be smaller.
        let quick = deflate(&mut self.quick, QUICK_LEVEL, cluster, second);
        if quick.is_none_or(|quick| records * 100 <= quick * 97) {
            return Some(records);
        }
        match deflate(&mut self.usual, LEVEL, cluster, second) {
            Some(usual) if usual < records => {
                out[..usual].copy_from_slice(&second[..usual]);
                Some(usual)
            }
            _ => Some(records),
        }
    }
}

fn deflate(
    packer: &mut Option<Compressor>,
    level: i32,
    cluster: &[u8],
    out: &mut [u8],
) -> Option<usize> {
    let new = || Compressor::new(CompressionLvl::new(level).unwrap_or_default());
    let packer = packer.get_or_insert_with(new);
    packer.deflate_compress(cluster, out).ok()
}

/// Unpacks a cluster; `packed` may go on behind the stream.
///
/// # Errors
/// `EIO` when the stream is damaged or does not fill the cluster.
pub(crate) fn unpack(packed: &[u8], cluster: &mut [u8]) -> io::Result<()> {
    let unpacked = UNPACKER.with_borrow_mut(|u| u.deflate_decompress(packed, cluster));
    match unpacked {
        Ok(len) if len == cluster.len() => Ok(()),
        _ => Err(io::Error::from_raw_os_error(5)),
    }
}

/// Unpacks a cluster from a zlib stream; `packed` may go on behind it.
///
/// # Errors
/// `EIO` when the stream is damaged or does not fill the cluster.
pub(crate) fn unpack_zlib(packed: &[u8], cluster: &mut [u8]) -> io::Result<()> {
    let unpacked = UNPACKER.with_borrow_mut(|u| u.zlib_decompress(packed, cluster));
    match unpacked {
        Ok(len) if len == cluster.len() => Ok(()),
        _ => Err(io::Error::from_raw_os_error(5)),
    }
}

#[cfg(test)]
mod tests;
