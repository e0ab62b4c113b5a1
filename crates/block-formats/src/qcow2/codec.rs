//! Packed clusters: raw deflate or zstd.
//!
//! Deflate streams use the whole 32 KiB window of RFC 1951: every reader unpacks a cluster in one go, with all of its output at
//! hand, and the larger window packs better and several times faster than the 4 KiB that the reference limits itself to.

use std::cell::RefCell;
use std::io;

use libdeflater::{CompressionLvl, Compressor, Decompressor};

use super::header::CompressionType;

const EIO: i32 = 5;

/// As small as zlib's default level makes it with its small window, in a fraction of the time.
const DEFLATE_LEVEL: i32 = 6;
/// What zstd takes by default.
const ZSTD_LEVEL: i32 = 3;

/// A worker's own state, made once.
struct Packers {
    deflate: Compressor,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

struct Unpackers {
    inflate: Decompressor,
    zstd: Option<zstd::bulk::Decompressor<'static>>,
}

thread_local! {
    static PACKERS: RefCell<Packers> = RefCell::new(Packers {
        deflate: Compressor::new(CompressionLvl::new(DEFLATE_LEVEL).unwrap_or_default()),
        zstd: None,
    });
    static UNPACKERS: RefCell<Unpackers> = RefCell::new(Unpackers {
        inflate: Decompressor::new(),
        zstd: None,
    });
}

fn damaged() -> io::Error {
    io::Error::from_raw_os_error(EIO)
}

/// Packs a cluster into `out`; `false` when it does not get smaller.
pub(crate) fn pack(kind: CompressionType, cluster: &[u8], out: &mut Vec<u8>) -> io::Result<bool> {
    out.clear();
    out.resize(cluster.len(), 0);
    let packed = PACKERS.with_borrow_mut(|packers| match kind {
        CompressionType::Zstd => packers.pack_zstd(cluster, out),
        CompressionType::Zlib => Ok(packers.deflate.deflate_compress(cluster, out).ok()),
    })?;
    match packed.filter(|len| *len < cluster.len()) {
        Some(len) => {
            out.truncate(len);
            Ok(true)
        }
        None => Ok(false),
    }
}

impl Packers {
    fn pack_zstd(&mut self, cluster: &[u8], out: &mut [u8]) -> io::Result<Option<usize>> {
        let packer = match &mut self.zstd {
            Some(packer) => packer,
            empty => empty.insert(zstd::bulk::Compressor::new(ZSTD_LEVEL)?),
        };
        // The only failure with a buffer of the cluster's own size is that it does not get smaller.
        Ok(packer.compress_to_buffer(cluster, out).ok())
    }
}

/// Unpacks a cluster; `packed` may go on behind the stream. Memory is bounded by the cluster.
pub(crate) fn unpack(kind: CompressionType, packed: &[u8], cluster: &mut [u8]) -> io::Result<()> {
    UNPACKERS.with_borrow_mut(|unpackers| match kind {
        CompressionType::Zlib => unpackers.inflate(packed, cluster),
        CompressionType::Zstd => unpackers.zstd(packed, cluster),
    })
}

impl Unpackers {
    fn inflate(&mut self, packed: &[u8], cluster: &mut [u8]) -> io::Result<()> {
        match self.inflate.deflate_decompress(packed, cluster) {
            Ok(len) if len == cluster.len() => Ok(()),
            _ => Err(damaged()),
        }
    }

    fn zstd(&mut self, packed: &[u8], cluster: &mut [u8]) -> io::Result<()> {
        let frame = zstd::zstd_safe::find_frame_compressed_size(packed).map_err(|_| damaged())?;
        let packed = packed.get(..frame).ok_or_else(damaged)?;
        let unpacker = match &mut self.zstd {
            Some(unpacker) => unpacker,
            empty => empty.insert(zstd::bulk::Decompressor::new()?),
        };
        match unpacker.decompress_to_buffer(packed, cluster) {
            Ok(len) if len == cluster.len() => Ok(()),
            _ => Err(damaged()),
        }
    }
}
