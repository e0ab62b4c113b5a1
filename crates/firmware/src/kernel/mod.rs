//! Kernels that are booted without a disk: Linux's bzImage, ELF with a PVH entry, multiboot 1.
//!
//! A kernel becomes up to four pieces for the firmware configuration device; the option ROM copies them to their
//! addresses and jumps. Images are checked as any hostile input is.

mod elf;
mod linux;
mod multiboot;
mod pvh;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::memory_map::Range;

/// Bytes and where they go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Piece {
    /// Guest-physical address.
    pub address: u32,
    /// The bytes.
    pub data: Vec<u8>,
}

/// A kernel, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kernel {
    /// Linux's real-mode part, or what the entered kernel finds behind ebx.
    pub setup: Piece,
    /// Command line with its terminating zero.
    pub command_line: Piece,
    /// The rest of the kernel.
    pub kernel: Piece,
    /// Initial RAM disk or modules.
    pub initrd: Piece,
    /// Entry in flat protected mode; `None` for a real-mode start at the setup piece.
    pub entry: Option<u32>,
}

/// A file given with `-initrd`: bytes and, for multiboot, the arguments after its name.
#[derive(Debug, Clone, Default)]
pub struct Module {
    /// The file.
    pub data: Vec<u8>,
    /// Its name and arguments.
    pub arguments: String,
}

/// What a loader needs to know beside the image.
#[derive(Debug)]
pub struct Request<'a> {
    /// The kernel's file.
    pub image: &'a [u8],
    /// The file's name as it was given.
    pub path: &'a str,
    /// `-append`.
    pub command_line: &'a str,
    /// `-initrd`.
    pub modules: &'a [Module],
    /// The guest's memory map.
    pub memory: &'a [Range],
    /// End of RAM below 4 GiB that firmware leaves alone.
    pub low_end: u64,
}

/// Why a kernel cannot be booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadError {
    /// None of the formats that are known.
    Unknown,
    /// The headers contradict themselves or the file's length.
    Damaged,
    /// Kernel, disk or command line do not fit into the guest.
    TooLarge,
    /// 64-bit multiboot kernels cannot be entered.
    Elf64Multiboot,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "not a kernel that can be booted (bzImage, PVH ELF or multiboot)",
            Self::Damaged => "invalid kernel header",
            Self::TooLarge => "kernel, initrd and command line do not fit into the guest's memory",
            Self::Elf64Multiboot => "Cannot load x86-64 image, give a 32bit one.",
        })
    }
}

impl std::error::Error for LoadError {}

/// Where the setup piece goes.
const SETUP: u32 = 0x1_0000;
/// Where the command line goes.
const COMMAND_LINE: u32 = 0x2_0000;
/// Bytes of a command line at most: up to where firmware keeps its own below 640 KiB.
const MOST_COMMAND_LINE: usize = 0x1_0000;

/// Takes a kernel apart.
///
/// # Errors
/// It is of no known format, damaged, or too large.
pub fn load(request: &Request<'_>) -> Result<Kernel, LoadError> {
    if request.command_line.len() >= MOST_COMMAND_LINE {
        return Err(LoadError::TooLarge);
    }
    let formats = [linux::load, pvh::load, multiboot::load];
    for format in formats {
        if let Some(kernel) = format(request)? {
            return Ok(kernel);
        }
    }
    Err(LoadError::Unknown)
}

/// A number of two or four bytes, or zero past the end.
fn word(image: &[u8], at: usize, bytes: usize) -> u32 {
    let mut raw = [0; 4];
    let part = at.checked_add(bytes).and_then(|end| image.get(at..end));
    if let (Some(part), Some(slot)) = (part, raw.get_mut(..bytes)) {
        slot.copy_from_slice(part);
    }
    u32::from_le_bytes(raw)
}

fn command_line(text: &str) -> Piece {
    let mut data = text.as_bytes().to_vec();
    data.push(0);
    Piece {
        address: COMMAND_LINE,
        data,
    }
}

/// Modules one after the other from a page on, and where each lies: address, size.
fn pack(modules: &[Module], start: u64, end: u64) -> Result<(Piece, Vec<(u32, u32)>), LoadError> {
    let start = start.next_multiple_of(4096);
    let mut data = Vec::new();
    let mut places = Vec::new();
    for module in modules {
        data.resize(data.len().next_multiple_of(4096), 0);
        let at = start + data.len() as u64;
        let size = module.data.len() as u64;
        if at + size > end {
            return Err(LoadError::TooLarge);
        }
        let number = |value: u64| u32::try_from(value).map_err(|_| LoadError::TooLarge);
        places.push((number(at)?, number(size)?));
        data.extend(&module.data);
    }
    let address = u32::try_from(start).map_err(|_| LoadError::TooLarge)?;
    Ok((Piece { address, data }, places))
}
