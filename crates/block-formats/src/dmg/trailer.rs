//! The trailer: where the tables of chunks are, and how long the disk is.

use crate::bytes::be64;

/// Bytes of it.
pub(super) const LEN: usize = 512;
/// Bytes in which it is looked for: those where it can start, and its magic number.
pub(super) const WINDOW: usize = 515;
/// How far before the end of the file, in whole sectors, that begins.
pub(super) const SEARCH_BACK: u64 = 511 + 512;
const MAGIC: &[u8] = b"koly";

/// Where the tables of chunks are: offset and length.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// In a resource fork.
    Fork(u64, u64),
    /// In a property list.
    Plist(u64, u64),
}

/// What the trailer says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    /// Where the data of chunks starts.
    pub(super) data_fork: u64,
    /// The tables, inside the file and before the trailer.
    pub(super) table: Table,
    /// Length of the disk in sectors.
    pub(super) sectors: u64,
}

/// Where in `window` the trailer starts.
pub(super) fn find(window: &[u8]) -> Option<usize> {
    window.windows(MAGIC.len()).position(|w| w == MAGIC)
}

impl Trailer {
    /// Reads it; `end` is where it starts in the file. `None` when it cannot be.
    pub(super) fn decode(bytes: &[u8], end: u64) -> Option<Self> {
        let data_fork = be64(bytes, 0x18);
        let fork = (be64(bytes, 0x28), be64(bytes, 0x30));
        let plist = (be64(bytes, 0xd8), be64(bytes, 0xe0));
        let sectors = be64(bytes, 0x1ec);
        let inside = |(at, len): (u64, u64)| at < end && len <= end - at;
        if data_fork > end || !inside(fork) || !inside(plist) || i64::try_from(sectors).is_err() {
            return None;
        }
        let table = match (fork, plist) {
            ((at, len), _) if len != 0 => Table::Fork(at, len),
            (_, (at, len)) if len != 0 => Table::Plist(at, len),
            _ => return None,
        };
        Some(Self {
            data_fork,
            table,
            sectors,
        })
    }
}
