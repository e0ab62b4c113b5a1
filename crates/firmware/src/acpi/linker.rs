//! The table loader: commands by which firmware allocates memory for the blobs, puts addresses into pointers and
//! computes checksums. Each command has 128 bytes.
//! ```text
//!   1 allocate      file(56) align(4) zone(1: 1 anywhere high, 2 below 1 MiB for RSDP)
//!   2 add pointer   in file(56) to file(56) offset(4) size(1)
//!   3 add checksum  file(56) offset(4) start(4) length(4)
//! ```

const COMMAND: usize = 128;
const NAME: usize = 56;

/// A list of commands.
#[derive(Debug, Default)]
pub(super) struct Linker {
    commands: Vec<u8>,
}

/// Where a blob is to lie.
#[derive(Debug, Clone, Copy)]
pub(super) enum Zone {
    /// Anywhere below 4 GiB.
    High,
    /// Where operating systems look for the root pointer.
    Low,
}

fn file(name: &str) -> [u8; NAME] {
    let mut raw = [0; NAME];
    for (slot, byte) in raw.iter_mut().take(NAME - 1).zip(name.bytes()) {
        *slot = byte;
    }
    raw
}

impl Linker {
    fn command(&mut self, number: u32, body: &[&[u8]]) {
        let mut raw = number.to_le_bytes().to_vec();
        for part in body {
            raw.extend(*part);
        }
        raw.resize(COMMAND, 0);
        self.commands.extend(raw);
    }

    /// Allocates memory for a blob and copies it there.
    pub(super) fn allocate(&mut self, name: &str, align: u32, zone: Zone) {
        let zone = match zone {
            Zone::High => 1,
            Zone::Low => 2,
        };
        self.command(1, &[&file(name), &align.to_le_bytes(), &[zone]]);
    }

    /// Adds the address of blob `to` to the number of `size` bytes at `offset` of blob `from`.
    pub(super) fn pointer(&mut self, from: &str, offset: u32, size: u8, to: &str) {
        let body: [&[u8]; 4] = [&file(from), &file(to), &offset.to_le_bytes(), &[size]];
        self.command(2, &body);
    }

    /// Sets the byte at `offset` so that `length` bytes from `start` sum to zero.
    pub(super) fn checksum(&mut self, name: &str, offset: u32, start: u32, length: u32) {
        let numbers = [offset, start, length].map(u32::to_le_bytes).concat();
        self.command(3, &[&file(name), &numbers]);
    }

    /// The commands, as the firmware reads them.
    pub(super) fn finish(self) -> Vec<u8> {
        self.commands
    }
}
