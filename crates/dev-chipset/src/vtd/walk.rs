//! Translation of transfers (chapters 3 and 9): root entry, context entry, pages.

use super::Unit;
use super::registers::TRANSLATE;

const PRESENT: u64 = 1;
const READ: u64 = 1;
const WRITE: u64 = 2;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// In a context entry: faults are not recorded.
const QUIET: u64 = 1 << 1;

/// Why a transfer is refused (table 26).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    NoRoot = 1,
    NoContext = 2,
    BadContext = 3,
    TooHigh = 4,
    NoWrite = 5,
    NoRead = 6,
    PageTable = 7,
    RootTable = 8,
    ContextTable = 9,
}

impl Unit {
    /// See [`hw_core::memory::Remap::translate`].
    pub(super) fn translate(
        &mut self,
        source: u16,
        address: u64,
        write: bool,
    ) -> Option<(u64, u64)> {
        if self.registers.status & TRANSLATE == 0 {
            return Some((address, u64::MAX));
        }
        let mut quiet = false;
        match self.walk(source, address, write, &mut quiet) {
            Ok(found) => Some(found),
            Err(fault) => {
                if !quiet {
                    self.fault(address & !0xfff, source, fault as u8, !write);
                }
                None
            }
        }
    }

    fn walk(
        &self,
        source: u16,
        address: u64,
        write: bool,
        quiet: &mut bool,
    ) -> Result<(u64, u64), Fault> {
        let [devfn, bus] = source.to_le_bytes();
        let root = self.registers.root_used + u64::from(bus) * 16;
        let root = self.table(root, Fault::RootTable)?;
        if root & PRESENT == 0 {
            return Err(Fault::NoRoot);
        }
        let at = (root & ADDRESS) + u64::from(devfn) * 16;
        let context = self.table(at, Fault::ContextTable)?;
        let more = self.table(at + 8, Fault::ContextTable)?;
        *quiet = context & QUIET != 0;
        if context & PRESENT == 0 {
            return Err(Fault::NoContext);
        }
        let levels = match (context >> 2 & 3, more & 7) {
            // Pass-through.
            (2, _) => return Ok((address, u64::MAX)),
            (0 | 1, 1) => 3,
            (0 | 1, 2) if self.choices.address_bits > 39 => 4,
            _ => return Err(Fault::BadContext),
        };
        self.pages(context & ADDRESS, levels, address, write)
    }

    fn pages(
        &self,
        table: u64,
        levels: u32,
        address: u64,
        write: bool,
    ) -> Result<(u64, u64), Fault> {
        if address >> (12 + 9 * levels) != 0 {
            return Err(Fault::TooHigh);
        }
        let (needed, refused) = if write {
            (WRITE, Fault::NoWrite)
        } else {
            (READ, Fault::NoRead)
        };
        let mut table = table;
        for level in (0..levels).rev() {
            let shift = 12 + 9 * level;
            let index = address >> shift & 0x1ff;
            let entry = self.table(table + index * 8, Fault::PageTable)?;
            if entry & needed == 0 {
                return Err(refused);
            }
            if level == 0 || level < 3 && entry & LARGE != 0 {
                let size = 1 << shift;
                let inside = address & (size - 1);
                return Ok(((entry & ADDRESS & !(size - 1)) | inside, size - inside));
            }
            table = entry & ADDRESS;
        }
        Err(refused)
    }

    fn table(&self, at: u64, fault: Fault) -> Result<u64, Fault> {
        self.memory.read_uint(at, 8).map_err(|_| fault)
    }
}
