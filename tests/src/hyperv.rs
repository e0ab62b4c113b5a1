//! Parts of VHD and VHDX images that the reference does not write: logs that wait to be replayed, and differencing disks.

/// Bytes of a sector of a VHDX log, and of each of its headers.
const SECTOR: usize = 4096;
const MIB: usize = 1 << 20;
/// Where the table of blocks and the metadata are in an image with a log of 1 MiB and a small disk.
pub const BAT: usize = 2 * MIB;
const METADATA: usize = 3 * MIB;

/// Writes bytes at an offset, making the image longer where it must be.
pub fn put(image: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if image.len() < at + bytes.len() {
        image.resize(at + bytes.len(), 0);
    }
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

/// CRC-32C of each byte.
const SUMS: [u32; 256] = {
    let mut sums = [0; 256];
    let mut byte = 0_u32;
    while byte < 256 {
        let mut crc = byte;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
            bit += 1;
        }
        sums[byte as usize] = crc;
        byte += 1;
    }
    sums
};

/// CRC-32C.
pub fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        let [low, ..] = crc.to_le_bytes();
        (crc >> 8) ^ SUMS[usize::from(low ^ byte)]
    };
    !bytes.iter().fold(u32::MAX, step)
}

/// Makes the sum of a VHDX structure right.
pub fn seal(bytes: &mut [u8]) {
    bytes[4..8].fill(0);
    let sum = crc32c(bytes);
    bytes[4..8].copy_from_slice(&sum.to_le_bytes());
}

/// The newer header's place.
///
/// # Panics
/// Never: headers are there.
pub fn header(image: &[u8]) -> usize {
    let sequence = |at: usize| {
        let bytes = image[at + 8..at + 16].first_chunk::<8>();
        u64::from_le_bytes(*bytes.expect("eight bytes"))
    };
    if sequence(65536) > sequence(131_072) {
        65536
    } else {
        131_072
    }
}

/// Lets both headers name a log.
pub fn name_log(image: &mut [u8], guid: [u8; 16]) {
    for at in [65536, 131_072] {
        image[at + 48..at + 64].copy_from_slice(&guid);
        seal(&mut image[at..at + SECTOR]);
    }
}

/// A descriptor of a log entry.
#[derive(Debug, Clone)]
pub enum Change<'a> {
    /// A sector of metadata.
    Sector(u64, &'a [u8]),
    /// Zeroes: offset and length.
    Zero(u64, u64),
}

/// An entry of a log.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The log's.
    pub guid: [u8; 16],
    /// Its number.
    pub sequence: u64,
    /// Where the first entry of its row is, in bytes of the log.
    pub tail: u32,
    /// What it says of the file's length.
    pub length: u64,
}

impl Entry {
    /// Its bytes.
    pub fn with(self, changes: &[Change<'_>]) -> Vec<u8> {
        let heads = (changes.len() + 2).div_ceil(SECTOR / 32);
        let mut bytes = vec![0; heads * SECTOR];
        let mut data = Vec::new();
        let number = u32::try_from(changes.len()).unwrap_or(0);
        bytes[..4].copy_from_slice(b"loge");
        bytes[12..16].copy_from_slice(&self.tail.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..28].copy_from_slice(&number.to_le_bytes());
        bytes[32..48].copy_from_slice(&self.guid);
        bytes[48..56].copy_from_slice(&self.length.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.length.to_le_bytes());
        let sequence = self.sequence.to_le_bytes();
        for (place, change) in bytes[64..].chunks_exact_mut(32).zip(changes) {
            place[24..32].copy_from_slice(&sequence);
            match change {
                Change::Zero(at, length) => {
                    place[..4].copy_from_slice(b"zero");
                    place[8..16].copy_from_slice(&length.to_le_bytes());
                    place[16..24].copy_from_slice(&at.to_le_bytes());
                }
                Change::Sector(at, sector) => {
                    place[..4].copy_from_slice(b"desc");
                    place[4..8].copy_from_slice(&sector[SECTOR - 4..]);
                    place[8..16].copy_from_slice(&sector[..8]);
                    place[16..24].copy_from_slice(&at.to_le_bytes());
                    let mut stored = sector.to_vec();
                    stored[..4].copy_from_slice(b"data");
                    stored[4..8].copy_from_slice(&sequence[4..]);
                    stored[SECTOR - 4..].copy_from_slice(&sequence[..4]);
                    data.extend(stored);
                }
            }
        }
        bytes.extend(data);
        let length = u32::try_from(bytes.len()).unwrap_or(0);
        bytes[8..12].copy_from_slice(&length.to_le_bytes());
        seal(&mut bytes);
        bytes
    }
}

/// Puts an entry into a log of 1 MiB, round its end if it is there.
pub fn put_entry(image: &mut Vec<u8>, at: usize, entry: &[u8]) {
    for (number, sector) in entry.chunks(SECTOR).enumerate() {
        let place = MIB + (at + number * SECTOR) % MIB;
        put(image, place, sector);
    }
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A GUID as VHDX writes it as text.
pub fn guid_text(id: &[u8]) -> String {
    let part = |range: std::ops::Range<usize>, back: bool| {
        let mut bytes = id[range].to_vec();
        if back {
            bytes.reverse();
        }
        bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()
    };
    format!(
        "{{{}-{}-{}-{}-{}}}",
        part(0..4, true),
        part(4..6, true),
        part(6..8, true),
        part(8..10, false),
        part(10..16, false)
    )
}

/// Makes an empty VHDX image with blocks of 1 MiB a differencing one. `pairs` are the parent locator's.
pub fn make_vhdx_child(image: &mut Vec<u8>, pairs: &[(&str, &str)]) {
    const LOCATOR: [u8; 16] = [
        0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab,
        0x0c,
    ];
    const VHDX: [u8; 16] = [
        0xb7, 0xef, 0x4a, 0xb0, 0x9e, 0xd1, 0x81, 0x4a, 0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59,
        0x13,
    ];
    let le32 = |n: usize| u32::try_from(n).unwrap_or(0).to_le_bytes();
    let le16 = |n: usize| u16::try_from(n).unwrap_or(0).to_le_bytes();
    let mut bytes = VHDX.to_vec();
    bytes.resize(20 + 12 * pairs.len(), 0);
    bytes[18..20].copy_from_slice(&le16(pairs.len()));
    for (number, (key, value)) in pairs.iter().enumerate() {
        for (field, text) in [wide(key), wide(value)].into_iter().enumerate() {
            let pair = 20 + 12 * number;
            let at = bytes.len();
            bytes[pair + 4 * field..pair + 4 * field + 4].copy_from_slice(&le32(at));
            let length = pair + 8 + 2 * field;
            bytes[length..length + 2].copy_from_slice(&le16(text.len()));
            bytes.extend(text);
        }
    }
    let entry = METADATA + 6 * 32;
    put(image, METADATA + 10, &le16(6));
    put(image, entry, &LOCATOR);
    put(image, entry + 16, &le32(65536 + 4096));
    put(image, entry + 20, &le32(bytes.len()));
    put(image, entry + 24, &le32(4));
    put(image, METADATA + 65536 + 4096, &bytes);
    // Has a parent.
    let flags = METADATA + 65536 + 4;
    image[flags] |= 2;
    // Blocks that are not here are the parent's.
    image[BAT..BAT + MIB].fill(0);
}

/// Gives a differencing VHDX image some sectors of 512 bytes of its own, all in one block of 1 MiB.
pub fn put_vhdx_sectors(image: &mut Vec<u8>, block: usize, sectors: &[usize], byte: u8) {
    let data = image.len().next_multiple_of(MIB);
    let bits = data + MIB;
    put(image, bits + MIB - 1, &[0]);
    for sector in sectors {
        put(image, data + sector * 512, &[byte; 512]);
        let bit = block * 2048 + sector;
        image[bits + bit / 8] |= 1 << (bit % 8);
    }
    put(image, BAT + block * 8, &(data as u64 | 7).to_le_bytes());
    // That of the bitmap follows a chunk of 4096 blocks.
    put(image, BAT + 4096 * 8, &(bits as u64 | 6).to_le_bytes());
}

/// Makes a sum in a VHD's structure right: the complement of that of all bytes.
pub fn vhd_sum(bytes: &mut [u8], at: usize) {
    bytes[at..at + 4].fill(0);
    let sum = bytes
        .iter()
        .fold(0_u32, |sum, b| sum.wrapping_add((*b).into()));
    bytes[at..at + 4].copy_from_slice(&(!sum).to_be_bytes());
}

/// Makes an empty dynamic VHD a differencing one over the disk called `parent` with that id.
pub fn make_vhd_child(image: &mut Vec<u8>, parent: &str, id: &[u8]) {
    let name = wide(parent);
    let at = image.len() as u64;
    put(image, image.len(), &name);
    let end = image.len().next_multiple_of(512);
    let mut footer = image[..512].to_vec();
    footer[60..64].copy_from_slice(&4_u32.to_be_bytes());
    vhd_sum(&mut footer, 64);
    put(image, 0, &footer);
    put(image, end, &footer);
    let header = &mut image[512..1536];
    header[40..56].copy_from_slice(id);
    header[576..580].copy_from_slice(b"W2ru");
    header[580..584].copy_from_slice(&512_u32.to_be_bytes());
    let length = u32::try_from(name.len()).unwrap_or(0);
    header[584..588].copy_from_slice(&length.to_be_bytes());
    header[592..600].copy_from_slice(&at.to_be_bytes());
    vhd_sum(header, 36);
}

/// Gives a differencing VHD some sectors of its own, all in one block of 2 MiB.
pub fn put_vhd_sectors(image: &mut Vec<u8>, block: usize, sectors: &[usize], byte: u8) {
    let footer = image[..512].to_vec();
    let bits = image.len() - 512;
    put(image, bits, &[0; 512]);
    put(image, bits + 512 + 2 * MIB, &footer);
    for sector in sectors {
        put(image, bits + 512 + sector * 512, &[byte; 512]);
        image[bits + sector / 8] |= 0x80 >> (sector % 8);
    }
    let number = u32::try_from(bits / 512).unwrap_or(0);
    put(image, 1536 + block * 4, &number.to_be_bytes());
}
