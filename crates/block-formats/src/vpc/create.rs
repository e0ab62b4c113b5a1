//! Makes a VHD.

use std::time::{SystemTime, UNIX_EPOCH};

use block_core::{CreateRequest, OptionDesc, OptionKind, Preallocation, WriteFlags};
use qapi::{Error, Result};

use super::dynamic::{self, BLOCK};
use super::footer::{Chs, FOOTER, Footer, Kind, MAX_SECTORS};
use crate::make::{self, disk_size, flag, invalid, option};

/// Options of create.
pub(super) const OPTIONS: &[OptionDesc] = &[
    make::SIZE,
    option(
        "subformat",
        OptionKind::Str,
        "Type of virtual hard disk format. Supported formats are {dynamic (default) | fixed} ",
    ),
    option(
        "force_size",
        OptionKind::Bool,
        "Force disk size calculation to use the actual size specified, rather than using the nearest CHS-based calculation",
    ),
];

/// 2000-01-01, from which the footer counts seconds.
const EPOCH: u64 = 946_684_800;
/// Where the array of a dynamic disk is.
const TABLE: u64 = 1536;

/// The sectors a disk gets, and what its geometry says.
pub(super) fn geometry(sectors: u64, exact: bool) -> Result<(u64, Chs)> {
    let mut chs = Chs::MAX;
    if !exact {
        let wanted = sectors.min(Chs::MAX.total());
        let mut asked = wanted;
        // Raised one by one until the geometry holds what is asked: nothing is cut off, little is added.
        while {
            chs = Chs::of(asked);
            wanted > chs.total()
        } {
            asked += 1;
        }
    }
    if chs != Chs::MAX {
        return Ok((chs.total(), chs));
    }
    if sectors > MAX_SECTORS {
        return Err(Error::new("Disk size is too large, max size is 2040 GiB").errno(27));
    }
    Ok((sectors, chs))
}

/// [`block_core::FormatDriver::create`].
pub(super) async fn create(request: CreateRequest<'_>) -> Result<()> {
    let options = request.options;
    let kind = match options.get_str("subformat") {
        None | Some("dynamic") => Kind::Dynamic,
        Some("fixed") => Kind::Fixed,
        Some(other) => {
            return Err(invalid(format!(
                "Parameter 'subformat' does not accept value '{other}'"
            )));
        }
    };
    let exact = flag(options, "force_size");
    let (sectors, chs) = geometry(disk_size(options)? / 512, exact)?;
    let footer = Footer {
        kind,
        chs,
        size: sectors * 512,
        creator: if exact { *b"qem2" } else { *b"qemu" },
        data_offset: match kind {
            Kind::Fixed => u64::MAX,
            Kind::Dynamic | Kind::Differencing => FOOTER as u64,
        },
        id: String::new(),
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = u32::try_from(now.as_secs().saturating_sub(EPOCH)).unwrap_or(u32::MAX);
    let bytes = footer.encode(seconds, make::uuid()?);
    let file = make::file(&request).await?;
    let failed = |e: std::io::Error| Error::from_io("Unable to create or write VHD header", &e);
    match kind {
        Kind::Fixed => {
            file.truncate(footer.size + FOOTER as u64, Preallocation::Off)
                .await?;
            file.write(footer.size, &bytes, WriteFlags::default())
                .await
                .map_err(failed)?;
        }
        Kind::Dynamic | Kind::Differencing => {
            let whole = front(&bytes, footer.size);
            file.write(0, &whole, WriteFlags::default())
                .await
                .map_err(failed)?;
        }
    }
    file.flush().await.map_err(failed)
}

/// All of an empty dynamic disk: footer, header, free entries, footer.
fn front(footer: &[u8; FOOTER], size: u64) -> Vec<u8> {
    let entries = u32::try_from(size.div_ceil(BLOCK)).unwrap_or(u32::MAX);
    let table = (entries as usize * 4).next_multiple_of(512);
    let mut all = footer.to_vec();
    all.extend_from_slice(&dynamic::encode(TABLE, entries));
    all.resize(all.len() + table, 0xff);
    all.extend_from_slice(footer);
    all
}
