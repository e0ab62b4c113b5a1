//! Page tables as `info mem` and `info tlb` print them: the tables are read as the processor would, and left as they are.
//! ```text
//!   CR3 -> level 4 .. 1 (0): 512 entries of 8 bytes each, or 1024 of 4 without PAE
//!   an entry: P, or a page where PS says so (levels 1 and 2; level 0 always)
//! ```
//! The guest wrote the tables, and they may point at themselves: there is a limit to what is read.

use accel_core::Registers;
use hw_core::memory::Dma;
use qapi::{Error, Result};

use super::Vm;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const FRAME: u64 = 0x000f_ffff_ffff_f000;
/// Tables that are read at most, and pages that are shown at most.
const MOST_TABLES: usize = 1 << 16;
const MOST_PAGES: usize = 1 << 20;

/// Of what shape the tables are.
#[derive(Debug, Clone, Copy)]
struct Shape {
    levels: u32,
    /// Bits of an address that one table decides.
    bits: u32,
    entry_bytes: usize,
    large: bool,
    long: bool,
}

impl Shape {
    /// `None` when there is no paging.
    fn of(registers: &Registers) -> Option<Self> {
        const PAGING: u64 = 1 << 31;
        const PAE: u64 = 1 << 5;
        const PSE: u64 = 1 << 4;
        const FIVE_LEVELS: u64 = 1 << 12;
        const LONG: u64 = 1 << 10;
        if registers.cr0 & PAGING == 0 {
            return None;
        }
        let wide = registers.cr4 & PAE != 0;
        let long = wide && registers.efer & LONG != 0;
        let levels = match (long, wide) {
            (true, _) if registers.cr4 & FIVE_LEVELS != 0 => 5,
            (true, _) => 4,
            (false, true) => 3,
            (false, false) => 2,
        };
        Some(Self {
            levels,
            bits: if wide { 9 } else { 10 },
            entry_bytes: if wide { 8 } else { 4 },
            large: wide || registers.cr4 & PSE != 0,
            long,
        })
    }

    fn shift(self, level: u32) -> u32 {
        12 + level * self.bits
    }

    fn root(self, cr3: u64) -> u64 {
        match (self.long, self.entry_bytes) {
            (true, _) => cr3 & FRAME,
            (false, 8) => cr3 & 0xffff_ffe0,
            (false, _) => cr3 & 0xffff_f000,
        }
    }

    /// Entries of a table: the top one of PAE has four.
    fn entries(self, level: u32) -> u64 {
        if level == 2 && self.levels == 3 {
            4
        } else {
            1 << self.bits
        }
    }

    fn is_page(self, level: u32, entry: u64) -> bool {
        let top_of_pae = level == 2 && self.levels == 3;
        level == 0 || (entry & LARGE != 0 && self.large && level <= 2 && !top_of_pae)
    }

    /// With the highest bit that counts copied upwards.
    fn canonical(self, address: u64) -> u64 {
        if !self.long {
            return address;
        }
        let unused = 64 - (12 + self.levels * self.bits);
        ((address << unused).cast_signed() >> unused).cast_unsigned()
    }
}

/// A page that is mapped.
#[derive(Debug, Clone, Copy)]
struct Page {
    address: u64,
    size: u64,
    entry: u64,
    /// What all levels allow.
    allowed: u64,
    level: u32,
}

struct Walk<'a> {
    vm: &'a Vm,
    shape: Shape,
    tables: usize,
    pages: usize,
}

impl Walk<'_> {
    /// Calls for every page, lowest address first.
    fn table(&mut self, at: u64, place: Page, call: &mut dyn FnMut(Page)) {
        let level = place.level;
        let count = self.shape.entries(level);
        self.tables += 1;
        let mut bytes = vec![0; usize::try_from(count).unwrap_or(0) * self.shape.entry_bytes];
        let read = self
            .vm
            .machine
            .with(|core| Dma::new(&core.memory).read(at, &mut bytes));
        if read.is_err() {
            return;
        }
        let size = 1 << self.shape.shift(level);
        for (n, raw) in (0..count).zip(bytes.chunks(self.shape.entry_bytes)) {
            let mut whole = [0; 8];
            whole[..raw.len()].copy_from_slice(raw);
            let entry = u64::from_le_bytes(whole);
            if entry & PRESENT == 0 {
                continue;
            }
            // The top entries of PAE allow everything.
            let own = if level == 2 && self.shape.levels == 3 {
                PRESENT | WRITABLE | USER
            } else {
                entry
            };
            let page = Page {
                address: place.address + n * size,
                size,
                entry,
                allowed: place.allowed & own,
                level,
            };
            if self.shape.is_page(level, entry) {
                self.pages += 1;
                call(page);
            } else if self.tables < MOST_TABLES && self.pages < MOST_PAGES {
                let below = Page {
                    level: level - 1,
                    ..page
                };
                self.table(entry & FRAME, below, call);
            }
        }
    }
}

/// Calls for every page that a processor's tables map; false when there is no paging.
fn each(vm: &Vm, cpu: usize, mut call: impl FnMut(Shape, Page)) -> Result<bool> {
    let registers = vm.machine.registers(cpu);
    let registers = registers.ok_or_else(|| Error::new("No CPU available"))?;
    let Some(shape) = Shape::of(&registers) else {
        return Ok(false);
    };
    let top = Page {
        address: 0,
        size: 0,
        entry: 0,
        allowed: PRESENT | WRITABLE | USER,
        level: shape.levels - 1,
    };
    let mut walk = Walk {
        vm,
        shape,
        tables: 0,
        pages: 0,
    };
    walk.table(shape.root(registers.cr3), top, &mut |page| {
        call(shape, page);
    });
    Ok(true)
}

const OFF: &str = "PG disabled\n";

/// `info tlb`: a line a page.
pub(super) fn translations(vm: &Vm, cpu: usize) -> Result<String> {
    const FLAGS: [(u64, char); 9] = [
        (NO_EXECUTE, 'X'),
        (1 << 8, 'G'),
        (LARGE, 'P'),
        (1 << 6, 'D'),
        (1 << 5, 'A'),
        (1 << 4, 'C'),
        (1 << 3, 'T'),
        (USER, 'U'),
        (WRITABLE, 'W'),
    ];
    let mut text = String::new();
    let on = each(vm, cpu, |shape, page| {
        // Bit 7 of the entry of a small page says how it is cached.
        let entry = if page.level == 0 {
            page.entry & !LARGE
        } else {
            page.entry
        };
        let flags: String = FLAGS
            .iter()
            .map(|(bit, letter)| if entry & bit != 0 { *letter } else { '-' })
            .collect();
        // As the reference has it, without long mode the bit that forbids execution stays.
        let kept = if shape.long { FRAME } else { u64::MAX };
        let frame = entry & kept & !(page.size - 1);
        let address = shape.canonical(page.address);
        text.push_str(&format!("{address:016x}: {frame:016x} {flags}\n"));
    })?;
    Ok(if on { text } else { OFF.to_owned() })
}

/// `info mem`: a line for neighbours that allow the same.
pub(super) fn mappings(vm: &Vm, cpu: usize) -> Result<String> {
    let mut stretches: Vec<(Shape, Page)> = Vec::new();
    let on = each(vm, cpu, |shape, page| match stretches.last_mut() {
        Some((_, last))
            if last.address + last.size == page.address && last.allowed == page.allowed =>
        {
            last.size += page.size;
        }
        _ => stretches.push((shape, page)),
    })?;
    if !on {
        return Ok(OFF.to_owned());
    }
    let line = |(shape, page): &(Shape, Page)| {
        let letter = |bit, letter| if page.allowed & bit != 0 { letter } else { '-' };
        format!(
            "{:016x}-{:016x} {:016x} {}r{}\n",
            shape.canonical(page.address),
            shape.canonical(page.address + page.size),
            page.size,
            letter(USER, 'u'),
            letter(WRITABLE, 'w')
        )
    };
    Ok(stretches.iter().map(line).collect())
}
