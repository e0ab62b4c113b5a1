//! The guest's memory: addresses as a processor sees them, and pieces saved to files.

use std::fs::File;
use std::io::{self, Write};

use accel_core::{CS, Registers};
use hw_core::memory::Dma;
use monitor_core::Command;
use qapi::record::Record;
use qapi::{Error, Result};

use super::{Nothing, Vm, ask};

#[derive(Debug, Record)]
struct MemsaveArguments {
    val: i64,
    size: i64,
    filename: String,
    cpu_index: Option<i64>,
}

#[derive(Debug, Record)]
struct PmemsaveArguments {
    val: i64,
    size: i64,
    filename: String,
}

pub(super) const COMMANDS: &[Command<Vm>] = &[
    ask!("memsave", MemsaveArguments => Nothing, |vm: &Vm, wanted: MemsaveArguments| {
        let cpu = usize::try_from(wanted.cpu_index.unwrap_or(0)).unwrap_or(usize::MAX);
        if cpu >= vm.machine.processors() {
            return Err(Error::new("Parameter 'cpu-index' expects a CPU number"));
        }
        let range = (wanted.val.cast_unsigned(), wanted.size);
        save(vm, View::Virtual(cpu), range, &wanted.filename)?;
        Ok(Nothing {})
    }),
    ask!("pmemsave", PmemsaveArguments => Nothing, |vm: &Vm, wanted: PmemsaveArguments| {
        let range = (wanted.val.cast_unsigned(), wanted.size);
        save(vm, View::Physical, range, &wanted.filename)?;
        Ok(Nothing {})
    }),
];

/// How an address is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// As a processor's code uses it.
    Virtual(usize),
    /// As it is on the bus.
    Physical,
}

const PAGE: u64 = 0x1000;

/// Reads memory; false when some of it is not there.
pub(super) fn read(vm: &Vm, view: View, address: u64, into: &mut [u8]) -> bool {
    let registers = match view {
        View::Physical => None,
        View::Virtual(cpu) => match vm.machine.registers(cpu) {
            Some(registers) => Some(registers),
            None => return false,
        },
    };
    let mut address = address;
    let mut rest = into;
    while !rest.is_empty() {
        let room = PAGE - address % PAGE;
        let count = usize::try_from(room).unwrap_or(1).min(rest.len());
        let (now, later) = rest.split_at_mut(count);
        let physical = match &registers {
            None => Some(address),
            Some(registers) => translate(vm, registers, address),
        };
        let fine = physical.is_some_and(|at| {
            vm.machine
                .with(|core| Dma::new(&core.memory).read(at, now).is_ok())
        });
        if !fine {
            return false;
        }
        address = address.wrapping_add(room);
        rest = later;
    }
    true
}

/// What a linear address stands for: the page tables are read as the processor would, and left as they are.
pub(super) fn translate(vm: &Vm, registers: &Registers, address: u64) -> Option<u64> {
    const PAGING: u64 = 1 << 31;
    const PAE: u64 = 1 << 5;
    const FIVE_LEVELS: u64 = 1 << 12;
    const LONG: u64 = 1 << 10;
    const FRAME: u64 = 0x000f_ffff_ffff_f000;
    if registers.cr0 & PAGING == 0 {
        return Some(address & 0xffff_ffff);
    }
    let wide = registers.cr4 & PAE != 0;
    let long = registers.efer & LONG != 0;
    let levels = match (long, wide) {
        (true, _) if registers.cr4 & FIVE_LEVELS != 0 => 5,
        (true, _) => 4,
        (false, true) => 3,
        (false, false) => 2,
    };
    let bits = if wide { 9 } else { 10 };
    let bytes = if wide { 8 } else { 4 };
    let mut table = match (long, wide) {
        (true, _) => registers.cr3 & FRAME,
        (false, true) => registers.cr3 & 0xffff_ffe0,
        (false, false) => registers.cr3 & 0xffff_f000,
    };
    let address = if long { address } else { address & 0xffff_ffff };
    let large_allowed = wide || registers.cr4 & (1 << 4) != 0;
    for level in (0..levels).rev() {
        let shift = 12 + level * bits;
        let index = (address >> shift) & ((1 << bits) - 1);
        let at = table.checked_add(index * bytes)?;
        let entry = vm.machine.with(|core| {
            let dma = Dma::new(&core.memory);
            dma.read_uint(at, usize::try_from(bytes).unwrap_or(8)).ok()
        })?;
        if entry & 1 == 0 {
            return None;
        }
        let large = entry & (1 << 7) != 0 && large_allowed && (1..=2).contains(&level);
        let middle = level == 2 && levels == 3;
        if level == 0 || (large && !middle) {
            let inside = (1_u64 << shift) - 1;
            return Some((entry & FRAME & !inside) | (address & inside));
        }
        table = entry & FRAME;
    }
    None
}

/// Where the next instruction is, as a linear address.
pub(super) fn program_counter(registers: &Registers) -> u64 {
    let base = registers.segments.get(CS).map_or(0, |segment| segment.base);
    base.wrapping_add(registers.rip)
}

fn could_not_open(path: &str, error: &io::Error) -> Error {
    Error::from_io(format!("Could not open '{path}'"), error)
}

/// Writes a piece of memory to a file.
pub(super) fn save(vm: &Vm, view: View, range: (u64, i64), path: &str) -> Result<()> {
    const PIECE: u64 = 1 << 16;
    let (start, size) = range;
    let mut file = File::create(path).map_err(|error| could_not_open(path, &error))?;
    let mut left = u64::try_from(size).unwrap_or(0);
    let mut address = start;
    while left > 0 {
        let now = left.min(PIECE - address % PIECE);
        let mut bytes = vec![0; usize::try_from(now).unwrap_or(0)];
        let there = read(vm, view, address, &mut bytes);
        if !there && view != View::Physical {
            let text = format!("Invalid addr 0x{address:016x}/size {size} specified");
            return Err(Error::new(text));
        }
        file.write_all(&bytes)
            .map_err(|error| Error::from_io("writing memory to file failed", &error))?;
        address = address.wrapping_add(now);
        left -= now;
    }
    Ok(())
}
