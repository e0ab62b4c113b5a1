//! Makes a vhdx image.

use block_core::{CreateRequest, Edge, OptionDesc, OptionKind, Preallocation, WriteFlags};
use qapi::{Dict, Error, Result};

use super::SIGNATURE;
use super::bat::{self, Layout};
use super::header::{self, Guid, Header, MIB};
use super::metadata::{MAX_SIZE, Metadata};
use super::regions::{self, Regions};
use crate::make::{self, flag, invalid, number, option};

/// Options of create.
pub(super) const OPTIONS: &[OptionDesc] = &[
    option("size", OptionKind::Size, "Virtual disk size; max of 64TB."),
    OptionDesc {
        name: "log_size",
        kind: OptionKind::Size,
        help: "Log size; min 1MB.",
        default: Some("1048576"),
    },
    OptionDesc {
        name: "block_size",
        kind: OptionKind::Size,
        help: "Block Size; min 1MB, max 256MB. 0 means auto-calculate based on image size.",
        default: Some("0"),
    },
    option(
        "subformat",
        OptionKind::Str,
        "VHDX format type, can be either 'dynamic' or 'fixed'. Default is 'dynamic'.",
    ),
    option(
        "block_state_zero",
        OptionKind::Bool,
        "Force use of payload blocks of type 'ZERO'. Non-standard, but default.  Do not set to 'off' when using 'qemu-img convert' with subformat=dynamic.",
    ),
];

/// Bytes of the disk's sectors.
const SECTOR: u32 = 512;
/// Between the table of blocks and the first block: the metadata, and room to grow.
const GAP: u64 = 5 * MIB;
/// The largest block.
const MAX_BLOCK: u64 = 256 << 20;

/// What an image is made of.
struct Plan {
    layout: Layout,
    log: u32,
    block: u32,
    fixed: bool,
    /// State of blocks from the start.
    state: u64,
}

fn plan(options: &Dict) -> Result<Plan> {
    let size = make::disk_size(options)?;
    let fixed = match options.get_str("subformat") {
        None | Some("dynamic") => false,
        Some("fixed") => true,
        Some(other) => {
            return Err(invalid(format!(
                "Parameter 'subformat' does not accept value '{other}'"
            )));
        }
    };
    if size > MAX_SIZE {
        return Err(invalid("Image size too large; max of 64TB"));
    }
    let up = |bytes: u64| bytes.checked_next_multiple_of(MIB).unwrap_or(u64::MAX);
    let log = up(number(options, "log_size", MIB));
    let log = u32::try_from(log).map_err(|_| invalid("Log size must be smaller than 4 GB"))?;
    if log == 0 {
        return Err(invalid("Log size must be a multiple of 1 MB"));
    }
    let block = match up(number(options, "block_size", 0)) {
        0 => automatic(size),
        asked => asked.min(MAX_BLOCK),
    };
    if !block.is_power_of_two() {
        return Err(invalid("Block size must be a power of two"));
    }
    let block = u32::try_from(block).unwrap_or(u32::MAX);
    let zero = options.get("block_state_zero").is_none() || flag(options, "block_state_zero");
    let state = match (zero, fixed) {
        (true, _) => bat::ZERO,
        (false, true) => bat::PRESENT,
        (false, false) => bat::NOT_PRESENT,
    };
    Ok(Plan {
        layout: Layout::new(size, block, SECTOR),
        log,
        block,
        fixed,
        state,
    })
}

/// The block size of a disk of so many bytes.
fn automatic(size: u64) -> u64 {
    match size {
        size if size > 32 << 40 => 64 << 20,
        size if size > 100 << 30 => 32 << 20,
        size if size > 1 << 30 => 16 << 20,
        _ => 8 << 20,
    }
}

/// [`block_core::FormatDriver::create`].
pub(super) async fn create(request: CreateRequest<'_>) -> Result<()> {
    let plan = plan(request.options)?;
    let file = make::file(&request).await?;
    let bat = MIB + u64::from(plan.log);
    let bat_bytes = (plan.layout.entries(false) * bat::ENTRY).next_multiple_of(MIB);
    let metadata = bat + bat_bytes.max(MIB);
    let data = metadata + GAP;
    let length = if plan.fixed {
        data + plan.layout.size
    } else {
        data
    };
    file.truncate(length, Preallocation::Off).await?;
    let what = "Failed to write file signature";
    write(&file, 0, &mark(), what).await?;
    for (place, header) in header::PLACES.iter().zip(headers(plan.log)?) {
        write(
            &file,
            *place,
            &header.encode(),
            "Failed to write image headers",
        )
        .await?;
    }
    write_bat(&file, &plan, bat, data).await?;
    let table = Regions::encode(bat..metadata, metadata..metadata + MIB);
    for place in regions::PLACES {
        write(&file, place, &table, "Failed to write region table").await?;
    }
    let items = Metadata {
        block: plan.block,
        fixed: plan.fixed,
        size: plan.layout.size,
        sector: SECTOR,
        parent: None,
    };
    let items = items.encode(make::uuid()?);
    write(&file, metadata, &items, "Failed to initialize metadata").await?;
    let flushed = file.flush().await;
    flushed.map_err(|e| Error::from_io("Could not flush the image", &e))
}

async fn write(file: &Edge, at: u64, bytes: &[u8], what: &str) -> Result<()> {
    let written = file.write(at, bytes, WriteFlags::default()).await;
    written.map_err(|e| Error::from_io(what, &e))
}

/// The file's mark, and who made it.
fn mark() -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend("qimg".encode_utf16().flat_map(u16::to_le_bytes));
    bytes
}

fn headers(log: u32) -> Result<[Header; 2]> {
    let random = make::uuid()?;
    let sequence = u64::from(u32::from_le_bytes([
        random[0], random[1], random[2], random[3],
    ]));
    let first = Header {
        sequence,
        file_write: make::uuid()?,
        data_write: make::uuid()?,
        log: Guid::default(),
        log_version: 0,
        log_length: log,
        log_offset: MIB,
    };
    let second = Header {
        sequence: sequence + 1,
        ..first
    };
    Ok([first, second])
}

/// Entries are not 0 where blocks are there from the start, or are known to be zero.
async fn write_bat(file: &Edge, plan: &Plan, bat: u64, data: u64) -> Result<()> {
    if plan.state == bat::NOT_PRESENT {
        return Ok(());
    }
    let entries = plan.layout.entries(false);
    let each = MIB / bat::ENTRY;
    for first in (0..entries).step_by(usize::try_from(each).unwrap_or(usize::MAX)) {
        let mut bytes = Vec::new();
        for entry in first..entries.min(first + each) {
            let raw = match plan.layout.block_of(entry) {
                None => 0,
                Some(block) if plan.state == bat::PRESENT => {
                    (data + block * plan.layout.block) | bat::PRESENT
                }
                Some(_) => plan.state,
            };
            bytes.extend_from_slice(&raw.to_le_bytes());
        }
        let at = bat + first * bat::ENTRY;
        write(file, at, &bytes, "Failed to write the BAT").await?;
    }
    Ok(())
}
