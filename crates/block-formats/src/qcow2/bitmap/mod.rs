//! Persistent dirty bitmaps (qcow2 interoperability document, "Bitmaps extension").
//!
//! All changes happen in memory; `close` stores them in new places and switches to them by one header write. A kill before
//! leaves what was stored last, marked in use if a write has made it untrue.

pub(in crate::qcow2) mod bits;
pub(in crate::qcow2) mod directory;
mod set;
mod store;

use std::sync::Arc;

use block_core::{BitmapInfo, Bitmaps, BoxFuture, Edge};
use qapi::{Error, Result};

use self::bits::Bits;
use self::directory::{Entry, Location};
use self::set::Bitmap;
pub(in crate::qcow2) use self::set::BitmapSet;
use super::Qcow2;

/// Granularity when none is asked for: the cluster size, but within these.
const DEFAULT_GRANULARITY: (u64, u64) = (4096, 65536);

/// Reads the directory.
///
/// # Errors
/// In the reference's words when it cannot be; when the file cannot be read.
pub(in crate::qcow2) async fn read_directory(
    file: &Edge,
    location: Location,
    size: u64,
    cluster_size: u64,
) -> Result<Vec<Entry>> {
    let failed = |e| Error::from_io("Failed to read bitmap directory", &e);
    // Bounded by `Location::decode`; a directory longer than the file has only zeroes there, which no entry may be.
    let mut bytes = vec![0; usize::try_from(location.size).unwrap_or(0)];
    file.read(location.offset, &mut bytes)
        .await
        .map_err(failed)?;
    directory::decode(&bytes, location, size, cluster_size)
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

impl Bitmaps for Qcow2 {
    fn list(&self) -> Vec<BitmapInfo> {
        self.bitmaps.infos()
    }

    fn add<'a>(&'a self, name: &'a str, granularity: Option<u64>) -> BoxFuture<'a, Result<()>> {
        ready(add(self, name, granularity))
    }

    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>> {
        ready(self.bitmaps.remove(name))
    }

    fn clear<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>> {
        let clean = || {
            let granularity_bits = self.bitmaps.usable(name)?.granularity_bits;
            self.bitmaps.update(name, |b| {
                b.bits = Some(Arc::new(Bits::new(self.size(), granularity_bits)));
                b.stored = None;
            })
        };
        ready(clean())
    }

    fn set_enabled<'a>(&'a self, name: &'a str, enabled: bool) -> BoxFuture<'a, Result<()>> {
        let usable = self.bitmaps.usable(name);
        ready(usable.and_then(|_| self.bitmaps.update(name, |b| b.enabled = enabled)))
    }

    fn dirty_ranges<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<(u64, u64)>>> {
        Box::pin(async move { Ok(self.bits_of(name).await?.ranges()) })
    }

    fn mark<'a>(&'a self, name: &'a str, ranges: &'a [(u64, u64)]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let bits = self.bits_of(name).await?;
            for (offset, len) in ranges {
                bits.mark(*offset, *len);
            }
            self.bitmaps.update(name, |b| b.stored = None)
        })
    }
}

fn add(image: &Qcow2, name: &str, granularity: Option<u64>) -> Result<()> {
    if name.is_empty() {
        return Err(Error::new("Bitmap name cannot be empty"));
    }
    let (least, most) = DEFAULT_GRANULARITY;
    let granularity = granularity.unwrap_or_else(|| image.cluster_size().clamp(least, most));
    if !granularity.is_power_of_two() || !(1 << 9..=1 << 31).contains(&granularity) {
        return Err(Error::new(
            "Granularity must be power of 2 and at least 512",
        ));
    }
    let bits = granularity.trailing_zeros();
    if image.bitmaps.usable(name).is_ok() || image.bitmaps.infos().iter().any(|b| b.name == name) {
        return Err(Error::new(format!("Bitmap already exists: {name}")));
    }
    storable(image, name, bits).map_err(|e| {
        let node = image.file().node();
        e.prefix(format!(
            "Can't make bitmap '{name}' persistent in '{}': ",
            node.name()
        ))
    })?;
    image.bitmaps.push(Bitmap::new(name, bits, image.size()));
    Ok(())
}

fn storable(image: &Qcow2, name: &str, granularity_bits: u32) -> Result<()> {
    if image.version() < 3 {
        return Err(Error::new("Cannot store dirty bitmaps in qcow2 v2 files").errno(95));
    }
    directory::check_new(
        name.as_bytes(),
        granularity_bits,
        image.size(),
        image.cluster_size(),
    )?;
    image.bitmaps.check_room(name)
}

#[cfg(test)]
mod tests;
