//! Packed clusters: raw deflate or zstd.

use std::cell::RefCell;
use std::io;

use super::header::CompressionType;
use crate::deflate;

const EIO: i32 = 5;

/// What zstd takes by default.
const ZSTD_LEVEL: i32 = 3;

thread_local! {
    static PACKER: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
    static UNPACKER: RefCell<Option<zstd::bulk::Decompressor<'static>>> =
        const { RefCell::new(None) };
}

fn damaged() -> io::Error {
    io::Error::from_raw_os_error(EIO)
}

/// Packs a cluster onto the end of `out`; `false` when it does not get smaller.
pub(crate) fn pack(kind: CompressionType, cluster: &[u8], out: &mut Vec<u8>) -> io::Result<bool> {
    if kind == CompressionType::Zlib {
        return Ok(deflate::pack(cluster, out));
    }
    PACKER.with_borrow_mut(|packer| {
        let packer = match packer {
            Some(packer) => packer,
            empty => empty.insert(zstd::bulk::Compressor::new(ZSTD_LEVEL)?),
        };
        let start = out.len();
        out.resize(start + cluster.len(), 0);
        // The only failure with a buffer of the cluster's own size is that it does not get smaller.
        let packed = packer.compress_to_buffer(cluster, &mut out[start..]).ok();
        let packed = packed.filter(|len| *len < cluster.len());
        out.truncate(start + packed.unwrap_or(0));
        Ok(packed.is_some())
    })
}

/// Unpacks a cluster; `packed` may go on behind the stream. Memory is bounded by the cluster.
pub(crate) fn unpack(kind: CompressionType, packed: &[u8], cluster: &mut [u8]) -> io::Result<()> {
    match kind {
        CompressionType::Zlib => deflate::unpack(packed, cluster),
        CompressionType::Zstd => unpack_zstd(packed, cluster),
    }
}

fn unpack_zstd(packed: &[u8], cluster: &mut [u8]) -> io::Result<()> {
    let frame = zstd::zstd_safe::find_frame_compressed_size(packed).map_err(|_| damaged())?;
    let packed = packed.get(..frame).ok_or_else(damaged)?;
    UNPACKER.with_borrow_mut(|unpacker| {
        let unpacker = match unpacker {
            Some(unpacker) => unpacker,
            empty => empty.insert(zstd::bulk::Decompressor::new()?),
        };
        match unpacker.decompress_to_buffer(packed, cluster) {
            Ok(len) if len == cluster.len() => Ok(()),
            _ => Err(damaged()),
        }
    })
}
