//! What a format of blocks has to say of itself.

use std::io;

use block_core::{BoxFuture, CheckReport, CheckRequest, Cipher, FormatInfo};

use super::Core;

/// What an entry says of its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell {
    /// Not in this image.
    Free,
    /// Reads as zeroes.
    Zero,
    /// Plain, its first byte here.
    Data(u64),
    /// Packed: offset and length in bytes.
    Packed(u64, u32),
    /// Cannot be.
    Bad,
}

/// What makes one format of this kind differ from the others.
pub(crate) trait Scheme: Send + Sync + 'static {
    /// What an entry means.
    fn cell(&self, raw: u64) -> Cell;

    /// The entry of a plain block whose first byte is at `host`.
    fn raw(&self, host: u64) -> u64;

    /// The entry of a block of zeroes, where there is such.
    fn zero_raw(&self) -> Option<u64> {
        None
    }

    /// Where the entry of a block is, and how many blocks from it on have theirs right behind.
    fn entry(&self, block: u64) -> (u64, u64) {
        (block, u64::MAX)
    }

    /// As [`block_core::Format::opaque`].
    fn opaque(&self) -> bool {
        false
    }

    /// Bytes that lie before each block and belong to it, and what they are filled with.
    fn lead(&self) -> (u64, u8) {
        (0, 0)
    }

    /// The file below may know of holes in the blocks of this image.
    fn holes(&self) -> bool {
        false
    }

    /// Where the image ends when it holds nothing, if it can be emptied.
    fn empty_end(&self) -> Option<u64> {
        None
    }

    /// Unallocated blocks show the backing file.
    fn backed(&self) -> bool {
        false
    }

    /// Alignment of new blocks in the file, in bytes; 0 leaves them where they come.
    fn alignment(&self) -> u64 {
        0
    }

    /// Before the first change: marks that the image is in use.
    fn begin<'a>(&'a self, _core: &'a Core) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Tables are in the file: what lies beside them follows.
    fn settle<'a>(&'a self, _core: &'a Core) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Last change before the image is closed or becomes read-only; only after [`Scheme::begin`].
    fn end<'a>(&'a self, _core: &'a Core) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// What `info` shows.
    fn info(&self, core: &Core) -> FormatInfo;

    /// Consistency check and repair, where the format has one.
    fn checker(&self) -> Option<&dyn Checker> {
        None
    }

    /// Packed blocks, where the format has them.
    fn packer(&self) -> Option<&dyn Packer> {
        None
    }

    /// As [`block_core::Format::cipher`].
    fn cipher(&self) -> Option<&dyn Cipher> {
        None
    }

    /// What can be changed in the header, where something can.
    fn header(&self) -> Option<&dyn HeaderChange> {
        None
    }
}

/// Consistency check of one format.
pub(crate) trait Checker: Send + Sync {
    /// As `block_core::Check::check`.
    fn check<'a>(
        &'a self,
        core: &'a Core,
        request: CheckRequest<'a>,
    ) -> BoxFuture<'a, qapi::Result<CheckReport>>;
}

/// Packed blocks of one format.
pub(crate) trait Packer: Send + Sync {
    /// As `block_core::Compress::pack`.
    fn pack(&self, block: &[u8], out: &mut Vec<u8>) -> io::Result<bool>;
    /// As `block_core::Format::decompress`.
    fn unpack(&self, packed: &[u8], block: &mut [u8]) -> io::Result<()>;
    /// The entry of a packed block.
    fn packed_raw(&self, host: u64, len: u32) -> u64;
}

/// Changes of a header.
pub(crate) trait HeaderChange: Send + Sync {
    /// As `block_core::Resize::resize`; the tables are large enough for `size`.
    fn resize<'a>(&'a self, core: &'a Core, size: u64) -> BoxFuture<'a, qapi::Result<()>>;
    /// As `block_core::ChangeBacking::set_backing`.
    fn set_backing<'a>(
        &'a self,
        core: &'a Core,
        link: Option<&'a block_core::BackingLink>,
    ) -> BoxFuture<'a, qapi::Result<()>>;
}
