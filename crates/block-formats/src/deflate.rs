//! Raw deflate streams of clusters (RFC 1951) of the formats that know no other packing, and zlib streams (RFC 1950).

use std::cell::RefCell;
use std::io;

use libdeflater::{CompressionLvl, Compressor, Decompressor};

/// As small as zlib's default level makes it with a small window, in a fraction of the time.
const LEVEL: i32 = 6;

thread_local! {
    static PACKER: RefCell<Compressor> =
        RefCell::new(Compressor::new(CompressionLvl::new(LEVEL).unwrap_or_default()));
    static UNPACKER: RefCell<Decompressor> = RefCell::new(Decompressor::new());
}

/// Packs a cluster into `out`; `false` when it does not get smaller.
pub(crate) fn pack(cluster: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    out.resize(cluster.len(), 0);
    let packed = PACKER.with_borrow_mut(|packer| packer.deflate_compress(cluster, out));
    match packed {
        Ok(len) if len < cluster.len() => {
            out.truncate(len);
            true
        }
        _ => false,
    }
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
