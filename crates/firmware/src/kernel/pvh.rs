//! ELF kernels with a PVH entry (Xen, docs/misc/pvh.pandoc): entered in flat protected mode, ebx points to the start
//! information.

use super::elf::Elf;
use super::{COMMAND_LINE, Kernel, LoadError, Piece, Request, SETUP, command_line, pack, word};
use crate::memory_map::{Kind, for_kernel};

/// Note that holds the 32-bit entry.
const PHYS32_ENTRY: u32 = 18;
const MAGIC: u32 = 0x336e_c578;
const INFO: usize = 56;

pub(super) fn load(request: &Request<'_>) -> Result<Option<Kernel>, LoadError> {
    let Some(elf) = Elf::read(request.image)? else {
        return Ok(None);
    };
    let Some(note) = elf.note(b"Xen\0", PHYS32_ENTRY) else {
        return Ok(None);
    };
    if note.len() < 4 {
        return Err(LoadError::Damaged);
    }
    let kernel = elf.flatten(request.low_end)?;
    let end = u64::from(kernel.address) + kernel.data.len() as u64;
    let (initrd, places) = pack(request.modules, end, request.low_end)?;
    Ok(Some(Kernel {
        setup: start_info(request, &places),
        command_line: command_line(request.command_line),
        kernel,
        initrd,
        entry: Some(word(note, 0, 4)),
    }))
}

/// Start information, then the module list, then the memory map.
fn start_info(request: &Request<'_>, places: &[(u32, u32)]) -> Piece {
    let map = for_kernel(request.memory);
    let modules = INFO;
    let entries = modules + places.len() * 32;
    let address = |offset: usize| u64::from(SETUP) + offset as u64;
    let count = |n: usize| u32::try_from(n).unwrap_or(0);
    let mut data = Vec::new();
    for number in [MAGIC, 1, 0, count(places.len())] {
        data.extend(number.to_le_bytes());
    }
    for pointer in [
        address(modules),
        u64::from(COMMAND_LINE),
        0,
        address(entries),
    ] {
        data.extend(pointer.to_le_bytes());
    }
    data.extend(count(map.len()).to_le_bytes());
    data.extend(0_u32.to_le_bytes());
    for (start, size) in places {
        for number in [u64::from(*start), u64::from(*size), 0, 0] {
            data.extend(number.to_le_bytes());
        }
    }
    for range in map {
        data.extend(range.start.to_le_bytes());
        data.extend(range.size.to_le_bytes());
        let kind: u32 = if range.kind == Kind::Ram { 1 } else { 2 };
        data.extend(kind.to_le_bytes());
        data.extend(0_u32.to_le_bytes());
    }
    Piece {
        address: SETUP,
        data,
    }
}
