//! Packed chunks.

use std::io;

use bzip2::{Decompress, Status};
use liblzma::stream::{self, Stream};

use super::chunks::Packing;
use crate::deflate;

/// Memory that an xz stream may ask for: what its strongest level needs.
const LZMA_MEMORY: u64 = 80 << 20;

fn damaged() -> io::Error {
    io::Error::from_raw_os_error(5)
}

/// Unpacks a chunk, all of it and nothing more.
///
/// # Errors
/// `EIO` when it is damaged or has another length.
pub(super) fn unpack(packing: Packing, packed: &[u8], chunk: &mut [u8]) -> io::Result<()> {
    match packing {
        Packing::Zlib => deflate::unpack_zlib(packed, chunk),
        Packing::Bzip2 => bzip2(packed, chunk),
        Packing::Lzma => lzma(packed, chunk),
    }
}

/// Feeds `step` with what is left of both buffers until it says that its stream ended; it gives back the totals of
/// bytes taken and made, and whether it ended.
fn drive(
    packed: &[u8],
    chunk: &mut [u8],
    mut step: impl FnMut(&[u8], &mut [u8]) -> io::Result<(u64, u64, bool)>,
) -> io::Result<()> {
    let (mut taken, mut made) = (0, 0);
    loop {
        let (t, m, ended) = step(&packed[taken..], &mut chunk[made..])?;
        let t = usize::try_from(t).map_err(|_| damaged())?;
        let m = usize::try_from(m).map_err(|_| damaged())?;
        if ended {
            return if m == chunk.len() {
                Ok(())
            } else {
                Err(damaged())
            };
        }
        // No progress: the stream is cut or longer than the chunk.
        if (t, m) == (taken, made) {
            return Err(damaged());
        }
        (taken, made) = (t, m);
    }
}

fn bzip2(packed: &[u8], chunk: &mut [u8]) -> io::Result<()> {
    let mut stream = Decompress::new(false);
    drive(packed, chunk, |from, to| {
        let status = stream.decompress(from, to).map_err(|_| damaged())?;
        let ended = matches!(status, Status::StreamEnd);
        Ok((stream.total_in(), stream.total_out(), ended))
    })
}

fn lzma(packed: &[u8], chunk: &mut [u8]) -> io::Result<()> {
    let mut stream = Stream::new_stream_decoder(LZMA_MEMORY, 0).map_err(|_| damaged())?;
    drive(packed, chunk, |from, to| {
        let status = stream
            .process(from, to, stream::Action::Run)
            .map_err(|_| damaged())?;
        let ended = matches!(status, stream::Status::StreamEnd);
        Ok((stream.total_in(), stream.total_out(), ended))
    })
}
