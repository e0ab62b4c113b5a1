//! Memory from 640 KiB to 1 MiB under a host bridge: the VGA window with SMRAM behind it, and thirteen stretches that
//! show RAM or the bus (82441FX data sheet, "PAM").

use guest_mem::Ram;
use hw_core::memory::{Backing, MappingId, Shared, change};
use serde::{Deserialize, Serialize};

/// Stretches lie over RAM and under nothing else of the machine.
const PRIORITY: i32 = 1;
const VGA: (u64, u64) = (0xa_0000, 0x2_0000);
/// A VGA adapter's window is put here by the adapter, over RAM and under SMRAM.
pub const VGA_PRIORITY: i32 = 2;
const SMRAM_PRIORITY: i32 = 3;

/// What a stretch shows when it does not show RAM.
#[derive(Debug, Clone)]
pub struct Rom {
    /// The firmware, whose end is at 1 MiB.
    pub ram: Ram,
}

/// What a bridge saves beside its configuration space.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Shadow {
    pub(crate) shadow: u64,
}

struct Stretch {
    start: u64,
    size: u64,
    id: MappingId,
    shown: u8,
}

/// The stretches.
pub struct Pam {
    space: Shared,
    ram: Ram,
    rom: Option<Rom>,
    nothing: Backing,
    stretches: Vec<Stretch>,
    smram: MappingId,
}

impl Pam {
    /// Stretches over `ram`, which lies at address zero. `nothing` is a backing that reads as ones.
    pub fn new(space: &Shared, ram: Ram, rom: Option<Rom>, nothing: Backing) -> Self {
        let mut map = change(space);
        map.map(VGA.0, VGA.1, PRIORITY, nothing.clone());
        let smram = map.map(VGA.0, VGA.1, SMRAM_PRIORITY, Backing::Off);
        let mut stretches = Vec::new();
        let small = (0..12).map(|n| (0xc_0000 + n * 0x4000, 0x4000));
        for (start, size) in small.chain([(0xf_0000, 0x1_0000)]) {
            let id = map.map(start, size, PRIORITY, Backing::Off);
            stretches.push(Stretch {
                start,
                size,
                id,
                shown: 0xff,
            });
        }
        drop(map);
        let mut new = Self {
            space: Shared::clone(space),
            ram,
            rom,
            nothing,
            stretches,
            smram,
        };
        new.follow([0; 7], false);
        new
    }

    /// Brings the mappings in line with the seven registers and with SMRAM being open.
    pub(crate) fn follow(&mut self, registers: [u8; 7], smram_open: bool) {
        for n in 0..self.stretches.len() {
            // The last stretch has the upper half of the first register; the others follow in pairs.
            let bits = match n {
                12 => registers[0] >> 4,
                n if n % 2 == 0 => registers[1 + n / 2] & 15,
                n => registers[1 + n / 2] >> 4,
            } & 3;
            self.show(n, bits);
        }
        let backing = if smram_open {
            Backing::Ram {
                ram: self.ram.clone(),
                offset: VGA.0,
            }
        } else {
            Backing::Off
        };
        change(&self.space).set_backing(self.smram, backing);
    }

    /// Bit 0 reads RAM, bit 1 writes it. Writes alone cannot be expressed and go nowhere.
    fn show(&mut self, n: usize, bits: u8) {
        let stretch = &mut self.stretches[n];
        if stretch.shown == bits {
            return;
        }
        stretch.shown = bits;
        let (ram, offset) = (self.ram.clone(), stretch.start);
        let (start, size) = (stretch.start, stretch.size);
        let id = stretch.id;
        let backing = match bits {
            3 => Backing::Ram { ram, offset },
            1 => Backing::Rom { ram, offset },
            _ => self.bus_backing(start, size),
        };
        change(&self.space).set_backing(id, backing);
    }

    fn bus_backing(&self, start: u64, size: u64) -> Backing {
        let Some(rom) = &self.rom else {
            return self.nothing.clone();
        };
        let below_end = 0x10_0000 - start;
        // The bus shows at most the last 128 KiB of the firmware here.
        match rom.ram.size().checked_sub(below_end) {
            Some(offset) if below_end <= 0x2_0000 && size <= below_end => Backing::Rom {
                ram: rom.ram.clone(),
                offset,
            },
            _ => self.nothing.clone(),
        }
    }
}
