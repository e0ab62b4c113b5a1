//! Tables of chunks (`mish`).

use std::sync::Once;

use super::Failure;
use crate::bytes::{be32, be64};

const MAGIC: u32 = 0x6d69_7368;
/// Bytes before the entries.
const HEAD: usize = 204;
/// Bytes of an entry.
const ENTRY: usize = 40;
/// Longest chunk with data, packed or not.
const MAX_LEN: u64 = 64 << 20;
const MAX_SECTORS: u64 = MAX_LEN / 512;
/// Most chunks: what 64 MiB of tables hold, for a disk of some hundred gigabytes in chunks of usual length.
const MAX_CHUNKS: usize = (64 << 20) / ENTRY;

/// How a chunk is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Zlib,
    Bzip2,
    Lzma,
}

/// What a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Zeroes, or sectors that nobody cares about.
    Zero,
    /// The bytes as they are.
    Plain,
    Packed(Packing),
}

/// A run of sectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) kind: Kind,
    /// Its first sector; `first * 512` fits.
    pub(super) first: u64,
    /// How many; never 0.
    pub(super) sectors: u64,
    /// Where its bytes are in the file.
    pub(super) at: u64,
    /// How many bytes it has there.
    pub(super) len: u64,
}

/// The chunks of all tables so far.
pub(super) struct Chunks {
    data_fork: u64,
    found: Vec<Chunk>,
    /// Chunks counted as the user is told of them: also those that are empty.
    counted: u64,
}

/// What the number of a kind means.
enum Code {
    Known(Kind),
    /// A comment, or the end.
    Nothing,
    Unknown,
}

fn code(number: u32) -> Code {
    match number {
        0 | 2 => Code::Known(Kind::Zero),
        1 => Code::Known(Kind::Plain),
        0x8000_0005 => Code::Known(Kind::Packed(Packing::Zlib)),
        0x8000_0006 => Code::Known(Kind::Packed(Packing::Bzip2)),
        0x8000_0008 => Code::Known(Kind::Packed(Packing::Lzma)),
        0x7fff_fffe | 0xffff_ffff => Code::Nothing,
        _ => Code::Unknown,
    }
}

/// Says, once each, that chunks of this kind cannot be read; the rest of the image can.
fn warn(number: u32) {
    // GAP: lzfse and ADC chunks; reading them fails.
    static LZFSE: Once = Once::new();
    static OTHER: Once = Once::new();
    if number == 0x8000_0007 {
        LZFSE.call_once(|| {
            qapi::warn(
                "dmg-lzfse module is missing, accessing lzfse compressed blocks will result in I/O errors",
            );
        });
    } else {
        OTHER.call_once(|| {
            qapi::warn(&format!(
                "Image contains chunks of unknown type {number:x}, accessing them will result in I/O errors"
            ));
        });
    }
}

impl Chunks {
    /// None yet; their data is counted from `data_fork`.
    pub(super) fn new(data_fork: u64) -> Self {
        Self {
            data_fork,
            found: Vec::new(),
            counted: 0,
        }
    }

    /// Adds those of one table. What is no table, or too short for one, is passed over.
    pub(super) fn add(&mut self, table: &[u8]) -> Result<(), Failure> {
        if be32(table, 0) != MAGIC || table.len() < HEAD + ENTRY {
            return Ok(());
        }
        let first = be64(table, 8);
        let base = self.data_fork.saturating_add(be64(table, 24));
        for entry in table[HEAD..].chunks_exact(ENTRY) {
            let number = be32(entry, 0);
            match code(number) {
                Code::Known(kind) => self.add_one(kind, entry, first, base)?,
                Code::Nothing => {}
                Code::Unknown => warn(number),
            }
        }
        Ok(())
    }

    fn add_one(&mut self, kind: Kind, entry: &[u8], first: u64, base: u64) -> Result<(), Failure> {
        let (sectors, len) = (be64(entry, 16), be64(entry, 32));
        let number = self.counted;
        self.counted += 1;
        // Zeroes need no buffer, so they may be as many as they like.
        if kind != Kind::Zero && sectors > MAX_SECTORS {
            return Err(Failure::Words(format!(
                "sector count {sectors} for chunk {number} is larger than max ({MAX_SECTORS})"
            )));
        }
        if len > MAX_LEN {
            return Err(Failure::Words(format!(
                "length {len} for chunk {number} is larger than max ({MAX_LEN})"
            )));
        }
        if self.found.len() == MAX_CHUNKS {
            return Err(Failure::Words("too many chunks".to_owned()));
        }
        let chunk = Chunk {
            kind,
            first: first.saturating_add(be64(entry, 8)),
            sectors,
            at: base.saturating_add(be64(entry, 24)),
            len,
        };
        // No disk is long enough for the rest.
        if sectors > 0 && chunk.first <= i64::MAX.unsigned_abs() / 512 {
            self.found.push(chunk);
        }
        Ok(())
    }

    /// All of them by their first sector.
    pub(super) fn sorted(mut self) -> Vec<Chunk> {
        self.found.sort_by_key(|c| c.first);
        self.found
    }
}
