//! Images of formats that nobody here can write but this: cloop, bochs and dmg, built field by field from what their own
//! tools write.

use crate::Rng;

/// A disk of some megabytes: zeroes, repeated bytes and noise in pieces of 4 KiB.
pub fn disk(rng: &mut Rng, bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes + 4096);
    while out.len() < bytes {
        match rng.below(3) {
            0 => out.extend([0; 4096]),
            1 => out.extend([u8::try_from(rng.below(256)).unwrap_or(0); 4096]),
            _ => out.extend((0..512).flat_map(|_| rng.below(u64::MAX).to_be_bytes())),
        }
    }
    out.truncate(bytes);
    out
}

/// A zlib stream.
///
/// # Panics
/// Never: the buffer has the compressor's own bound.
pub fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut packer = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
    let mut out = vec![0; packer.zlib_compress_bound(bytes.len())];
    let len = packer
        .zlib_compress(bytes, &mut out)
        .expect("the buffer is long enough");
    out.truncate(len);
    out
}

/// The script at the front of cloop images.
const SCRIPT: &[u8] =
    b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n";

/// A cloop image of a disk of whole blocks.
pub fn cloop(disk: &[u8], block: usize) -> Vec<u8> {
    let blocks: Vec<_> = disk.chunks(block).map(zlib).collect();
    let mut out = SCRIPT.to_vec();
    out.resize(128, 0);
    out.extend(be32(block));
    out.extend(be32(blocks.len()));
    let mut at = 136 + 8 * (blocks.len() as u64 + 1);
    out.extend(at.to_be_bytes());
    for block in &blocks {
        at += block.len() as u64;
        out.extend(at.to_be_bytes());
    }
    out.extend(blocks.concat());
    out
}

fn be32(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes()
}

fn le32(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes()
}

/// A redolog of Bochs with this version (1 or 2). Sectors of zeroes are left out; extents are stored last first.
pub fn bochs(disk: &[u8], extent: usize, version: usize) -> Vec<u8> {
    let extents: Vec<_> = disk.chunks(extent).collect();
    let bitmap = (extent / 512).div_ceil(8);
    let mut out = b"Bochs Virtual HD Image".to_vec();
    out.resize(32, 0);
    out.extend(b"Redolog");
    out.resize(48, 0);
    out.extend(b"Growing");
    out.resize(64, 0);
    for number in [version << 16, 512, extents.len(), bitmap, extent] {
        out.extend(le32(number));
    }
    if version == 2 {
        out.extend([0; 4]);
    }
    out.extend((disk.len() as u64).to_le_bytes());
    out.resize(512, 0);
    let used: Vec<_> = (0..extents.len())
        .rev()
        .filter(|i| extents[*i].iter().any(|b| *b != 0))
        .collect();
    for number in 0..extents.len() {
        let place = used.iter().position(|i| *i == number);
        out.extend(place.map_or([0xff; 4], le32));
    }
    for number in used {
        let mut bits = vec![0_u8; bitmap.next_multiple_of(512)];
        for (i, sector) in extents[number].chunks(512).enumerate() {
            if sector.iter().any(|b| *b != 0) {
                bits[i / 8] |= 1 << (i % 8);
            }
        }
        out.extend(bits);
        out.extend(extents[number]);
        out.resize(out.len() + extent - extents[number].len(), 0);
    }
    out
}

/// How a dmg's chunk is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// Zeroes.
    Zero,
    /// As it is.
    Plain,
    /// Left to chance: zeroes here.
    Ignored,
    /// By zlib.
    Zlib,
    /// By bzip2.
    Bzip2,
    /// By xz.
    Lzma,
    /// By something that is not known here; the bytes as they are.
    Unknown(u32),
}

impl Stored {
    fn code(self) -> u32 {
        match self {
            Self::Zero => 0,
            Self::Plain => 1,
            Self::Ignored => 2,
            Self::Zlib => 0x8000_0005,
            Self::Bzip2 => 0x8000_0006,
            Self::Lzma => 0x8000_0008,
            Self::Unknown(code) => code,
        }
    }

    fn pack(self, bytes: &[u8]) -> Vec<u8> {
        use std::io::Write;
        const MEMORY: &str = "memory can be written";
        match self {
            Self::Zero | Self::Ignored => Vec::new(),
            Self::Plain | Self::Unknown(_) => bytes.to_vec(),
            Self::Zlib => zlib(bytes),
            Self::Bzip2 => {
                let mut packer =
                    bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
                packer.write_all(bytes).expect(MEMORY);
                packer.finish().expect(MEMORY)
            }
            Self::Lzma => {
                let mut packer = liblzma::write::XzEncoder::new(Vec::new(), 6);
                packer.write_all(bytes).expect(MEMORY);
                packer.finish().expect(MEMORY)
            }
        }
    }
}

/// A dmg under construction.
#[derive(Debug, Default)]
pub struct Dmg {
    /// The data fork.
    data: Vec<u8>,
    /// Tables so far: first sector, and entries.
    tables: Vec<(u64, Vec<[u64; 5]>)>,
    /// Sectors so far.
    sectors: u64,
    /// What a reader must see.
    pub disk: Vec<u8>,
}

impl Dmg {
    /// Starts another table (a partition).
    pub fn table(&mut self) {
        self.tables.push((self.sectors, Vec::new()));
    }

    /// Adds a chunk of whole sectors.
    pub fn chunk(&mut self, stored: Stored, bytes: &[u8]) {
        if self.tables.is_empty() {
            self.table();
        }
        let packed = stored.pack(bytes);
        let sectors = bytes.len() as u64 / 512;
        if let Some((first, entries)) = self.tables.last_mut() {
            entries.push([
                stored.code().into(),
                self.sectors - *first,
                sectors,
                self.data.len() as u64,
                packed.len() as u64,
            ]);
        }
        self.data.extend(packed);
        self.sectors += sectors;
        match stored {
            Stored::Zero | Stored::Ignored => self.disk.resize(self.disk.len() + bytes.len(), 0),
            _ => self.disk.extend(bytes),
        }
    }

    fn tables(&self) -> Vec<Vec<u8>> {
        let tables = self.tables.iter().map(|(first, entries)| {
            let mut out = b"mish".to_vec();
            out.extend(1_u32.to_be_bytes());
            out.extend(first.to_be_bytes());
            out.resize(200, 0);
            out.extend(be32(entries.len() + 1));
            let end = [0xffff_ffff, 0, 0, 0, 0];
            for [code, first, sectors, at, len] in entries.iter().chain([&end]) {
                out.extend(u32::try_from(*code).unwrap_or(0).to_be_bytes());
                out.extend([0; 4]);
                for number in [first, sectors, at, len] {
                    out.extend(number.to_be_bytes());
                }
            }
            out
        });
        tables.collect()
    }

    /// The image with its tables in a property list.
    pub fn with_plist(&self) -> Vec<u8> {
        let mut text =
            "<plist version=\"1.0\"><dict><key>resource-fork</key><dict><key>blkx</key><array>\n"
                .to_owned();
        for table in self.tables() {
            text.push_str("<dict><key>Data</key>\n<data>\n");
            let encoded = base64(&table);
            for line in encoded.as_bytes().chunks(52) {
                text.push_str("\t\t\t");
                text.push_str(&String::from_utf8_lossy(line));
                text.push('\n');
            }
            text.push_str("</data></dict>\n");
        }
        text.push_str("</array></dict></dict></plist>\n");
        self.finish(text.as_bytes(), 0xd8)
    }

    /// The image with its tables in a resource fork.
    pub fn with_fork(&self) -> Vec<u8> {
        let mut resources = Vec::new();
        for table in self.tables() {
            resources.extend(be32(table.len()));
            resources.extend(table);
        }
        let mut fork = be32(16).to_vec();
        fork.extend([0; 4]);
        fork.extend(be32(resources.len()));
        fork.extend([0; 4]);
        fork.extend(resources);
        self.finish(&fork, 0x28)
    }

    fn finish(&self, tables: &[u8], field: usize) -> Vec<u8> {
        let mut out = self.data.clone();
        out.extend(tables);
        let mut trailer = vec![0; 512];
        trailer[..4].copy_from_slice(b"koly");
        let mut put =
            |at: usize, number: u64| trailer[at..at + 8].copy_from_slice(&number.to_be_bytes());
        put(4, 4 << 32 | 512);
        put(0x20, self.data.len() as u64);
        put(field, self.data.len() as u64);
        put(field + 8, tables.len() as u64);
        put(0x1ec, self.sectors);
        out.extend(trailer);
        out
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let byte = |i: usize| usize::from(three.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let digit = DIGITS[bits >> (18 - 6 * i) & 63];
            out.push(if i <= three.len() { digit.into() } else { '=' });
        }
    }
    out
}
