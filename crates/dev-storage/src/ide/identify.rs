//! What IDENTIFY DEVICE and IDENTIFY PACKET DEVICE answer (ATA/ATAPI-6, 8.15 and 8.16).

use hw_core::bits::low16;

use super::drive::Drive;

/// 256 words in the making.
struct Words([u16; 256]);

impl Words {
    fn new() -> Self {
        Self([0; 256])
    }

    fn set(&mut self, at: usize, value: u16) {
        self.0[at] = value;
    }

    fn set_long(&mut self, at: usize, value: u64, words: usize) {
        for n in 0..words {
            self.0[at + n] = low16(value >> (16 * n));
        }
    }

    /// Text of so many words, padded by blanks, two letters a word with the first above.
    fn text(&mut self, at: usize, words: usize, text: &str) {
        let mut letters = text
            .bytes()
            .filter(u8::is_ascii)
            .chain(std::iter::repeat(b' '));
        for word in &mut self.0[at..at + words] {
            let pair = [
                letters.next().unwrap_or(b' '),
                letters.next().unwrap_or(b' '),
            ];
            *word = u16::from_be_bytes(pair);
        }
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn names(&mut self, drive: &Drive) {
        self.text(10, 10, &drive.options.serial);
        self.text(23, 4, &drive.options.version);
        self.text(27, 20, &drive.options.model);
    }

    /// What a hard disk hangs on: word 93 has the result of a parallel cable's reset, 76 the speeds of a serial link and that commands can be queued, 75 how many.
    fn link(&mut self, drive: &Drive) {
        if drive.serial_ata {
            // 32 queued commands.
            self.set(75, 31);
            self.set(76, 1 << 8 | 1 << 1);
        } else {
            self.set(93, 0x6001);
        }
    }

    /// Word 63 or 88: the modes there are, and which one is chosen.
    fn modes(&mut self, at: usize, all: u16, family: u8, chosen: u8) {
        let of_family = chosen & 0xf8 == family;
        let bit = if of_family {
            1 << (8 + (chosen & 7))
        } else {
            0
        };
        self.set(at, all | bit);
    }
}

pub(super) fn disk(drive: &Drive, sectors: u64) -> Vec<u8> {
    let mut words = Words::new();
    let (heads, track) = (16_u64, 63_u64);
    let cylinders = (sectors / (heads * track)).min(16383);
    words.set(0, 0x0040);
    words.set_long(1, cylinders, 1);
    words.set_long(3, heads, 1);
    words.set_long(6, track, 1);
    words.names(drive);
    words.set(47, 0x8010);
    words.set(48, 1);
    // LBA, DMA, IORDY.
    words.set(49, 0x0b00);
    words.set(51, 0x0200);
    words.set(52, 0x0200);
    words.set(53, 7);
    let (now_heads, now_track) = (u64::from(drive.state.heads), u64::from(drive.state.track));
    let now_cylinders = (sectors / (now_heads * now_track).max(1)).min(65535);
    words.set_long(54, now_cylinders, 1);
    words.set_long(55, now_heads, 1);
    words.set_long(56, now_track, 1);
    words.set_long(57, now_cylinders * now_heads * now_track, 2);
    words.set(59, 0x100 | u16::from(drive.state.multiple));
    words.set_long(60, sectors.min(0x0fff_ffff), 2);
    words.modes(63, 0x07, 0x20, drive.state.mode);
    words.set(64, 3);
    for at in 65..=68 {
        words.set(at, 120);
    }
    // Trim gives zeroes or anything: it is only said that there is trim.
    words.set(80, 0xf0);
    words.set(81, 0x16);
    // NOP, write cache, SMART; flush ext, flush, 48 bits.
    words.set(82, 1 << 14 | 1 << 5 | 1);
    words.set(83, 1 << 14 | 1 << 13 | 1 << 12 | 1 << 10);
    words.set(84, 1 << 14);
    let write_cache = u16::from(drive.state.write_cache) << 5;
    let smart = u16::from(drive.state.smart.is_on());
    words.set(85, 1 << 14 | write_cache | smart);
    words.set(86, 1 << 13 | 1 << 12 | 1 << 10);
    words.set(87, 1 << 14);
    words.modes(88, 0x3f, 0x40, drive.state.mode);
    words.link(drive);
    words.set_long(100, sectors, 4);
    words.set(106, 0x6000);
    words.set(169, 1);
    words.bytes()
}

pub(super) fn cd(drive: &Drive) -> Vec<u8> {
    let mut words = Words::new();
    // A removable CD drive that takes packets of 12 bytes and is ready for them within 50 us.
    words.set(0, 0x85c0);
    words.names(drive);
    words.set(48, 1);
    words.set(49, 0x0300);
    words.set(53, 7);
    words.modes(63, 0x07, 0x20, drive.state.mode);
    words.set(64, 3);
    for at in 65..=68 {
        words.set(at, 0xb4);
    }
    words.set(71, 30);
    words.set(72, 30);
    words.set(80, 0x1e);
    words.set(82, 1 << 14 | 1 << 9 | 1 << 4);
    words.set(83, 1 << 14);
    words.set(84, 1 << 14);
    words.set(85, 1 << 14 | 1 << 9 | 1 << 4);
    words.set(87, 1 << 14);
    words.modes(88, 0x3f, 0x40, drive.state.mode);
    words.bytes()
}
