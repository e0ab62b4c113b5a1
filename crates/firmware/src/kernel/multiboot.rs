//! Multiboot 1 kernels (Multiboot specification 0.6.96): a header in the first 8 KiB, load addresses in it or ELF.

use super::elf::Elf;
use super::{
    Kernel, LoadError, MOST_COMMAND_LINE, Module, Piece, Request, SETUP, command_line, pack, word,
};
use crate::memory_map::{Kind, for_kernel};

const MAGIC: u32 = 0x1bad_b002;
const SEARCHED: usize = 8192;
const HAS_ADDRESSES: u32 = 1 << 16;
const INFO: usize = 120;
/// Memory sizes, command line, modules, memory map, loader's name.
const FLAGS: u32 = 1 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9;

pub(super) fn load(request: &Request<'_>) -> Result<Option<Kernel>, LoadError> {
    let image = request.image;
    let at = (0..image.len().min(SEARCHED).saturating_sub(11))
        .step_by(4)
        .find(|at| {
            let sum = word(image, *at, 4)
                .wrapping_add(word(image, at + 4, 4))
                .wrapping_add(word(image, at + 8, 4));
            word(image, *at, 4) == MAGIC && sum == 0
        });
    let Some(at) = at else { return Ok(None) };
    let (kernel, entry) = if word(image, at + 4, 4) & HAS_ADDRESSES != 0 {
        by_addresses(request, at)?
    } else {
        by_elf(request)?
    };
    let end = u64::from(kernel.address) + kernel.data.len() as u64;
    let (initrd, places) = pack(request.modules, end, request.low_end)?;
    let arguments = format!("{} {}", request.path, request.command_line);
    if arguments.len() >= MOST_COMMAND_LINE {
        return Err(LoadError::TooLarge);
    }
    Ok(Some(Kernel {
        setup: information(request, &places)?,
        command_line: command_line(&arguments),
        kernel,
        initrd,
        entry: Some(entry),
    }))
}

fn by_elf(request: &Request<'_>) -> Result<(Piece, u32), LoadError> {
    let elf = Elf::read(request.image)?.ok_or(LoadError::Damaged)?;
    if elf.wide() {
        return Err(LoadError::Elf64Multiboot);
    }
    let entry = u32::try_from(elf.entry()).map_err(|_| LoadError::Damaged)?;
    Ok((elf.flatten(request.low_end)?, entry))
}

/// Header fields from offset 12: header address, load start, load end, end of zeroes, entry.
fn by_addresses(request: &Request<'_>, at: usize) -> Result<(Piece, u32), LoadError> {
    let field = |n: usize| word(request.image, at + 12 + n * 4, 4);
    let (header, start, load_end, zero_end, entry) =
        (field(0), field(1), field(2), field(3), field(4));
    let before = header.checked_sub(start).ok_or(LoadError::Damaged)?;
    let before = usize::try_from(before).map_err(|_| LoadError::Damaged)?;
    let from = at.checked_sub(before).ok_or(LoadError::Damaged)?;
    let rest = request.image.get(from..).ok_or(LoadError::Damaged)?;
    let size = match load_end {
        0 => rest.len(),
        end => {
            let size = end.checked_sub(start).ok_or(LoadError::Damaged)?;
            usize::try_from(size).map_err(|_| LoadError::Damaged)?
        }
    };
    let mut data = rest.get(..size).ok_or(LoadError::Damaged)?.to_vec();
    if u64::from(start) + data.len() as u64 > request.low_end
        || u64::from(zero_end) > request.low_end
    {
        return Err(LoadError::TooLarge);
    }
    if let Some(whole) = zero_end.checked_sub(start).filter(|_| zero_end != 0) {
        let whole = usize::try_from(whole).map_err(|_| LoadError::Damaged)?;
        data.resize(data.len().max(whole), 0);
    }
    let piece = Piece {
        address: start,
        data,
    };
    Ok((piece, entry))
}

/// The information block with everything it points to behind it.
fn information(request: &Request<'_>, places: &[(u32, u32)]) -> Result<Piece, LoadError> {
    let mut data = vec![0; INFO];
    let here = |data: &Vec<u8>| {
        let offset = u32::try_from(data.len()).map_err(|_| LoadError::TooLarge)?;
        SETUP.checked_add(offset).ok_or(LoadError::TooLarge)
    };
    let name = here(&data)?;
    data.extend(b"qemu\0");
    let mut strings = Vec::new();
    for Module { arguments, .. } in request.modules {
        strings.push(here(&data)?);
        data.extend(arguments.bytes());
        data.push(0);
    }
    data.resize(data.len().next_multiple_of(4), 0);
    let modules = here(&data)?;
    for ((start, size), text) in places.iter().zip(strings) {
        for number in [*start, start.saturating_add(*size), text, 0] {
            data.extend(number.to_le_bytes());
        }
    }
    let map = here(&data)?;
    let ranges = for_kernel(request.memory);
    for range in &ranges {
        data.extend(20_u32.to_le_bytes());
        data.extend(range.start.to_le_bytes());
        data.extend(range.size.to_le_bytes());
        let kind: u32 = if range.kind == Kind::Ram { 1 } else { 2 };
        data.extend(kind.to_le_bytes());
    }
    if data.len() > 0x1_0000 {
        return Err(LoadError::TooLarge);
    }
    let upper = request.low_end.saturating_sub(1 << 20) >> 10;
    let count = |n: usize| u32::try_from(n).unwrap_or(0);
    let fields = [
        (0, FLAGS),
        (4, 640),
        (8, u32::try_from(upper).unwrap_or(u32::MAX)),
        (16, super::COMMAND_LINE),
        (20, count(places.len())),
        (24, modules),
        (44, count(ranges.len() * 24)),
        (48, map),
        (64, name),
    ];
    for (at, value) in fields {
        data[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    Ok(Piece {
        address: SETUP,
        data,
    })
}
