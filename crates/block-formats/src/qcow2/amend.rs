//! Change of create options of an existing image. The order of the steps, the refusals and their words are the reference's.

mod downgrade;
mod width;

use std::io;

use block_core::{Amend, AmendRequest, BoxFuture, Preallocation, Progress, Resize, ResizeRequest};
use qapi::{Dict, Error, OptionDesc, OptionKind, Result, Value};

use super::Qcow2;
use super::create::{self, option};
use super::encryption;
use super::header::{Header, autoclear, compatible, extension, incompatible};
use super::open::backing_link;

const EINVAL: i32 = 22;
/// Refcounts of version 2 have 16 bits.
const ORDER_OF_VERSION_2: u32 = 4;

/// Options of amend.
pub(super) const OPTIONS: &[OptionDesc] = &[
    option(
        "encrypt.state",
        OptionKind::Str,
        "Select new state of affected keyslots (active/inactive)",
    ),
    option(
        "encrypt.new-secret",
        OptionKind::Str,
        "New secret to set in the matching keyslots. Empty string to erase",
    ),
    option(
        "encrypt.old-secret",
        OptionKind::Str,
        "Select all keyslots that match this password",
    ),
    option(
        "encrypt.keyslot",
        OptionKind::Number,
        "Select a single keyslot to modify explicitly",
    ),
    create::ITER_TIME,
    create::SIZE,
    create::COMPAT,
    create::BACKING_FILE,
    create::BACKING_FMT,
    create::DATA_FILE,
    create::DATA_FILE_RAW,
    option(
        "lazy_refcounts",
        OptionKind::Bool,
        "Postpone refcount updates",
    ),
    option(
        "refcount_bits",
        OptionKind::Number,
        "Width of a reference count entry in bits",
    ),
];

/// What is asked for; `None` keeps what is there.
#[derive(Debug, Default)]
struct Wanted<'a> {
    version: Option<u32>,
    size: Option<u64>,
    backing: Option<(Option<&'a str>, Option<&'a str>)>,
    lazy_refcounts: Option<bool>,
    refcount_order: Option<u32>,
    data_file: Option<&'a str>,
    data_file_raw: Option<bool>,
}

impl<'a> Wanted<'a> {
    fn new(options: &'a Dict) -> Result<Self> {
        let mut wanted = Self {
            version: options.get_str("compat").map(version).transpose()?,
            size: number(options, "size").filter(|size| *size != 0),
            lazy_refcounts: flag(options, "lazy_refcounts"),
            data_file: options.get_str("data_file"),
            data_file_raw: flag(options, "data_file_raw"),
            ..Self::default()
        };
        let (file, format) = (
            options.get_str("backing_file"),
            options.get_str("backing_fmt"),
        );
        if file.is_some() || format.is_some() {
            wanted.backing = Some((file, format));
        }
        if let Some(bits) = number(options, "refcount_bits") {
            if bits > 64 || !bits.is_power_of_two() {
                return Err(refusal(
                    "Refcount width must be a power of two and may not exceed 64 bits",
                ));
            }
            wanted.refcount_order = Some(bits.trailing_zeros());
        }
        Ok(wanted)
    }
}

fn version(name: &str) -> Result<u32> {
    match name {
        "v2" | "0.10" => Ok(2),
        "v3" | "1.1" => Ok(3),
        _ => Err(refusal(format!("Unknown compatibility level {name}"))),
    }
}

fn number(options: &Dict, key: &str) -> Option<u64> {
    match options.get(key)? {
        Value::Int(n) => u64::try_from(*n).ok(),
        Value::Uint(n) => Some(*n),
        _ => None,
    }
}

fn flag(options: &Dict, key: &str) -> Option<bool> {
    match options.get(key)? {
        Value::Bool(on) => Some(*on),
        _ => None,
    }
}

fn refusal(message: impl Into<String>) -> Error {
    Error::new(message).errno(EINVAL)
}

impl Amend for Qcow2 {
    fn amend<'a>(&'a self, request: AmendRequest<'a>) -> BoxFuture<'a, Result<()>> {
        Box::pin(amend(self, request))
    }
}

async fn amend(image: &Qcow2, request: AmendRequest<'_>) -> Result<()> {
    let wanted = Wanted::new(request.options)?;
    if wanted.data_file.is_some() && !image.has_data_file() {
        return Err(refusal(
            "data-file can only be set for images that use an external data file",
        ));
    }
    let header = image.header().await;
    let raw_now = header.autoclear & autoclear::RAW_DATA_FILE != 0;
    if wanted.data_file_raw == Some(true) && !raw_now {
        return Err(refusal("data-file-raw cannot be set on existing images"));
    }
    let version = wanted.version.unwrap_or(header.version);
    if version > header.version {
        change_header(image, |header| header.version = version).await?;
    }
    change_width(image, &wanted, version, request.progress).await?;
    change_data_file(image, &wanted).await?;
    check_backing(&header, &wanted)?;
    if encryption::asked(request.options) {
        encryption::amend(image, &request).await?;
    }
    change_lazy(image, &wanted, version).await?;
    if let Some(size) = wanted.size.filter(|size| *size != image.size()) {
        image
            .resize(ResizeRequest {
                size,
                preallocation: Preallocation::Off,
            })
            .await?;
    }
    if version < header.version {
        go_down(image, request.progress).await?;
    }
    Ok(())
}

async fn change_header(image: &Qcow2, change: impl FnOnce(&mut Header) + Send) -> Result<()> {
    image
        .change_header(change)
        .await
        .map_err(|e| Error::from_io("Failed to update the image header", &e))
}

async fn change_width(
    image: &Qcow2,
    wanted: &Wanted<'_>,
    version: u32,
    progress: &dyn Progress,
) -> Result<()> {
    let now = image.header().await.refcount_order;
    let Some(order) = wanted.refcount_order.filter(|order| *order != now) else {
        return Ok(());
    };
    if version < 3 && order != ORDER_OF_VERSION_2 {
        return Err(refusal(
            "Refcount widths other than 16 bits require compatibility level 1.1 or above (use compat=1.1 or greater)",
        ));
    }
    let failed = |e: io::Error| Error::from_io("Failed to change the refcount width", &e);
    let _still = image.stand_still().await;
    let old = image.freeze().await.map_err(failed)?;
    let new = width::rewrite(&old, order, &mut |done, total| progress.set(done, total)).await?;
    let (offset, clusters) = (new.table_offset, new.table_clusters);
    change_header(image, |header| {
        header.refcount_table_offset = offset;
        header.refcount_table_clusters = clusters;
        header.refcount_order = order;
    })
    .await?;
    let freed = width::free_old(&new.frozen, &old).await;
    image.reload().await.map_err(failed)?;
    freed.map_err(failed)?;
    image.file().flush().await.map_err(failed)
}

async fn change_data_file(image: &Qcow2, wanted: &Wanted<'_>) -> Result<()> {
    if wanted.data_file.is_none() && wanted.data_file_raw.is_none() {
        return Ok(());
    }
    let name = wanted.data_file.map(str::to_owned);
    let raw = wanted.data_file_raw;
    change_header(image, |header| {
        match raw {
            Some(true) => header.autoclear |= autoclear::RAW_DATA_FILE,
            Some(false) => header.autoclear &= !autoclear::RAW_DATA_FILE,
            None => {}
        }
        if let Some(name) = name {
            let name = Some(name.into_bytes()).filter(|name| !name.is_empty());
            header.set_extension(extension::DATA_FILE, name);
        }
    })
    .await
}

/// Amend only takes the backing file that is there.
fn check_backing(header: &Header, wanted: &Wanted<'_>) -> Result<()> {
    let Some((file, format)) = wanted.backing else {
        return Ok(());
    };
    let link = backing_link(header);
    let now = link
        .as_ref()
        .map(|link| (Some(link.file.as_str()), link.format.as_deref()));
    if now.unwrap_or_default() == (file, format) {
        return Ok(());
    }
    Err(refusal("Cannot amend the backing file").hint("You can use 'qemu-img rebase' instead."))
}

async fn change_lazy(image: &Qcow2, wanted: &Wanted<'_>, version: u32) -> Result<()> {
    let now = image.header().await.compatible & compatible::LAZY_REFCOUNTS != 0;
    let Some(lazy) = wanted.lazy_refcounts.filter(|lazy| *lazy != now) else {
        return Ok(());
    };
    if lazy && version < 3 {
        return Err(refusal(
            "Lazy refcounts only supported with compatibility level 1.1 and above (use compat=1.1 or greater)",
        ));
    }
    clean(image).await?;
    change_header(image, |header| match lazy {
        true => header.compatible |= compatible::LAZY_REFCOUNTS,
        false => header.compatible &= !compatible::LAZY_REFCOUNTS,
    })
    .await
}

/// Writes late refcounts, so that the dirty flag can go.
async fn clean(image: &Qcow2) -> Result<()> {
    image
        .write_out()
        .await
        .map_err(|e| Error::from_io("Failed to make the image clean", &e))?;
    if image.header().await.incompatible & incompatible::DIRTY == 0 {
        return Ok(());
    }
    change_header(image, |header| header.incompatible &= !incompatible::DIRTY).await
}

async fn go_down(image: &Qcow2, progress: &dyn Progress) -> Result<()> {
    downgrade::check(image).await?;
    let _still = image.stand_still().await;
    clean(image).await?;
    let backing = backing_link(&image.header().await).is_some();
    downgrade::expand_zeroes(image, backing, &mut |done, total| progress.set(done, total)).await?;
    image.drop_bitmaps().await?;
    change_header(image, |header| {
        header.version = 2;
        header.incompatible = 0;
        header.compatible = 0;
        header.autoclear = 0;
    })
    .await
}

#[cfg(test)]
mod tests;
