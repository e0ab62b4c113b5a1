//! Linux's bzImage (Linux, Documentation/arch/x86/boot.rst): a real-mode part of some sectors, then the kernel.
//! ```text
//!   1f1 setup_sects   202 "HdrS"   206 version   210 type_of_loader   211 loadflags   218 ramdisk_image, _size
//!   224 heap_end_ptr   228 cmd_line_ptr   22c initrd_addr_max   238 cmdline_size
//! ```

use super::{COMMAND_LINE, Kernel, LoadError, Piece, Request, SETUP, command_line, word};

const SECTOR: usize = 512;
const MAGIC: u32 = 0x5372_6448;
const KERNEL: u32 = 0x10_0000;
/// Highest initrd address of kernels that do not say theirs.
const OLD_INITRD_MAX: u32 = 0x37ff_ffff;
/// A boot loader without an assigned number.
const LOADER: u8 = 0xb0;
const LOADED_HIGH: u8 = 1;
const CAN_USE_HEAP: u8 = 0x80;

fn put(setup: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(slot) = at
        .checked_add(bytes.len())
        .and_then(|end| setup.get_mut(at..end))
    {
        slot.copy_from_slice(bytes);
    }
}

/// `vga=` of the command line, as the video mode field has it.
fn video_mode(text: &str) -> Option<u16> {
    let value = text.split(' ').find_map(|word| word.strip_prefix("vga="))?;
    match value {
        "normal" => Some(0xffff),
        "ext" => Some(0xfffe),
        "ask" => Some(0xfffd),
        number => match number.strip_prefix("0x") {
            Some(hex) => u16::from_str_radix(hex, 16).ok(),
            None => number.parse().ok(),
        },
    }
}

pub(super) fn load(request: &Request<'_>) -> Result<Option<Kernel>, LoadError> {
    let image = request.image;
    if word(image, 0x202, 4) != MAGIC {
        return Ok(None);
    }
    let version = word(image, 0x206, 2);
    let flags = image.get(0x211).copied().unwrap_or(0);
    if version < 0x200 || flags & LOADED_HIGH == 0 {
        return Err(LoadError::Damaged);
    }
    let sectors = match image.get(0x1f1).copied().unwrap_or(0) {
        0 => 4,
        n => usize::from(n),
    };
    let setup_size = (sectors + 1) * SECTOR;
    let (Some(setup), Some(rest)) = (image.get(..setup_size), image.get(setup_size..)) else {
        return Err(LoadError::Damaged);
    };
    if rest.is_empty() {
        return Err(LoadError::Damaged);
    }
    let kernel_end = u64::from(KERNEL) + rest.len() as u64;
    if kernel_end > request.low_end {
        return Err(LoadError::TooLarge);
    }
    let mut setup = setup.to_vec();
    put(&mut setup, 0x210, &[LOADER]);
    put(&mut setup, 0x211, &[flags | CAN_USE_HEAP]);
    if version >= 0x201 {
        let heap_end = COMMAND_LINE - SETUP - 0x200;
        put(&mut setup, 0x224, &heap_end.to_le_bytes()[..2]);
    }
    if version >= 0x202 {
        put(&mut setup, 0x228, &COMMAND_LINE.to_le_bytes());
    } else {
        put(&mut setup, 0x20, &0xa33f_u16.to_le_bytes());
        put(&mut setup, 0x22, &(COMMAND_LINE - SETUP).to_le_bytes()[..2]);
    }
    if let Some(mode) = video_mode(request.command_line) {
        put(&mut setup, 0x1fa, &mode.to_le_bytes());
    }
    let initrd = initrd(request, version, kernel_end)?;
    if !initrd.data.is_empty() {
        let size = u32::try_from(initrd.data.len()).map_err(|_| LoadError::TooLarge)?;
        put(&mut setup, 0x218, &initrd.address.to_le_bytes());
        put(&mut setup, 0x21c, &size.to_le_bytes());
    }
    Ok(Some(Kernel {
        setup: Piece {
            address: SETUP,
            data: setup,
        },
        command_line: command_line(request.command_line),
        kernel: Piece {
            address: KERNEL,
            data: rest.to_vec(),
        },
        initrd,
        entry: None,
    }))
}

/// The disk, as high as the kernel can reach and memory allows.
fn initrd(request: &Request<'_>, version: u32, kernel_end: u64) -> Result<Piece, LoadError> {
    let Some(module) = request.modules.first() else {
        return Ok(Piece::default());
    };
    let own_limit = word(request.image, 0x22c, 4);
    let highest = if version >= 0x203 && own_limit != 0 {
        own_limit
    } else {
        OLD_INITRD_MAX
    };
    let end = (u64::from(highest) + 1).min(request.low_end);
    let start = end
        .checked_sub(module.data.len() as u64)
        .map(|start| start & !0xfff)
        .filter(|start| *start >= kernel_end);
    let address = u32::try_from(start.ok_or(LoadError::TooLarge)?);
    Ok(Piece {
        address: address.map_err(|_| LoadError::TooLarge)?,
        data: module.data.clone(),
    })
}
