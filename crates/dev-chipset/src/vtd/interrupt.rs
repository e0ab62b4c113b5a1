//! Interrupt remapping (chapter 5): a message names an entry of the table, the entry says where it goes.

use hw_core::bits::{low8, low32};

use super::Unit;
use super::registers::REMAP;

/// The message is of the remappable format.
const REMAPPABLE: u64 = 1 << 4;
/// Its data are added to its handle.
const SUBHANDLE: u64 = 1 << 3;
const HANDLE_15: u64 = 1 << 2;

const PRESENT: u64 = 1;
const QUIET: u64 = 1 << 1;
/// Posted interrupts, which this unit does not have.
const POSTED: u64 = 1 << 15;

/// Why a message is refused (table 27).
const BEYOND: u8 = 0x21;
const ABSENT: u8 = 0x22;
const UNREADABLE: u8 = 0x23;
const RESERVED: u8 = 0x24;

impl Unit {
    /// What a message to a processor becomes; `None` when it is refused. One in the old format passes, as with the
    /// reference, whether or not the guest has allowed these.
    pub(super) fn remap(&mut self, address: u64, data: u32) -> Option<(u64, u32)> {
        let on = self.registers.status & REMAP != 0;
        if !on || address >> 20 != 0xfee || address & REMAPPABLE == 0 {
            return Some((address, data));
        }
        let mut index = address >> 5 & 0x7fff | if address & HANDLE_15 != 0 { 1 << 15 } else { 0 };
        if address & SUBHANDLE != 0 {
            index += u64::from(data & 0xffff);
        }
        match self.entry(index) {
            Ok(entry) => Some(message(entry)),
            Err((reason, quiet)) => {
                if !quiet {
                    self.fault(index << 48, 0, reason, false);
                }
                None
            }
        }
    }

    /// The first half of an entry that can be used; the error is the reason, and whether it is not to be recorded.
    fn entry(&self, index: u64) -> Result<u64, (u8, bool)> {
        let table = self.registers.table_used;
        if index >= 2 << (table & 0xf) {
            return Err((BEYOND, false));
        }
        let at = (table & !0xfff).saturating_add(index * 16);
        let entry = self.memory.read_uint(at, 8);
        let entry = entry.map_err(|_| (UNREADABLE, false))?;
        let quiet = entry & QUIET != 0;
        match entry {
            _ if entry & PRESENT == 0 => Err((ABSENT, quiet)),
            _ if entry & POSTED != 0 => Err((RESERVED, quiet)),
            _ => Ok(entry),
        }
    }
}

/// The message of an entry, in the old format.
fn message(entry: u64) -> (u64, u32) {
    let destination = u64::from(low8(entry >> 40));
    // Redirection hint and destination mode.
    let modes = (entry >> 3 & 1) << 3 | (entry >> 2 & 1) << 2;
    let level = entry >> 4 & 1;
    let delivery = entry >> 5 & 7;
    let vector = entry >> 16 & 0xff;
    let data = vector | delivery << 8 | level << 14 | level << 15;
    (0xfee0_0000 | destination << 12 | modes, low32(data))
}
