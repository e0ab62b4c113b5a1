//! One export: a disk and what may be told of it.

use std::io;
use std::sync::Arc;

use block_core::{Kind, Node, Root};
use nbd_proto::flags::export;
use qapi::{Error, Result};

/// Sizes told are multiples of this.
const SECTOR: u64 = 512;

/// A disk under a name.
pub struct Export {
    /// As clients ask for it.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// The disk.
    pub root: Arc<Root>,
    /// Clients may write.
    pub writable: bool,
    /// Several clients may come at a time.
    pub shared: bool,
    /// The context `qemu:allocation-depth` is there.
    pub allocation_depth: bool,
    /// Contexts `qemu:dirty-bitmap:NAME`, in this order.
    pub bitmaps: Vec<Bitmap>,
}

/// A dirty bitmap of a layer.
pub struct Bitmap {
    /// Its name.
    pub name: String,
    node: Arc<Node>,
    /// Its ranges, while nothing changes them; `None`: it records, and is asked each time.
    ranges: Option<Vec<(u64, u64)>>,
}

impl Bitmap {
    /// Finds a bitmap in the layers of a disk, from the top.
    ///
    /// # Errors
    /// `Bitmap 'X' is not found`, or why it cannot be used.
    pub async fn find(root: &Root, name: &str, writable: bool) -> Result<Self> {
        let mut node = root.node();
        loop {
            let bitmaps = node.format().and_then(|f| f.bitmaps());
            let found = bitmaps.and_then(|b| b.list().into_iter().find(|i| i.name == name));
            if let (Some(bitmaps), Some(info)) = (bitmaps, found) {
                if info.inconsistent {
                    return Err(Error::new(format!(
                        "Bitmap '{name}' is inconsistent and cannot be used"
                    ))
                    .hint("Try block-dirty-bitmap-remove to delete this bitmap from disk"));
                }
                if !writable && info.enabled && !node.read_only() {
                    return Err(Error::new(format!(
                        "Enabled bitmap '{name}' incompatible with readonly export"
                    )));
                }
                let records = info.enabled && writable;
                let ranges = if records {
                    None
                } else {
                    Some(bitmaps.dirty_ranges(name).await?)
                };
                return Ok(Self {
                    name: name.to_owned(),
                    node: Arc::clone(&node),
                    ranges,
                });
            }
            let below = match node.kind() {
                Kind::Filter(filter) => Some(filter.child().node()),
                _ => node.backing().map(|edge| edge.node()),
            };
            match below {
                Some(below) => node = below,
                None => return Err(Error::new(format!("Bitmap '{name}' is not found"))),
            }
        }
    }

    /// Dirty ranges (offset, length in bytes), ascending, handed to `take`.
    pub(crate) async fn with_ranges<T>(
        &self,
        take: impl FnOnce(&[(u64, u64)]) -> T,
    ) -> io::Result<T> {
        if let Some(ranges) = &self.ranges {
            return Ok(take(ranges));
        }
        let bitmaps = self.node.format().and_then(|f| f.bitmaps());
        let bitmaps = bitmaps.ok_or(io::ErrorKind::Unsupported)?;
        let ranges = bitmaps.dirty_ranges(&self.name).await;
        let ranges = ranges.map_err(|e| io::Error::other(e.to_string()))?;
        Ok(take(&ranges))
    }
}

impl Export {
    /// Length that clients see, in bytes.
    pub(crate) fn size(&self) -> io::Result<u64> {
        Ok(self.root.length()? / SECTOR * SECTOR)
    }

    /// Flags that do not depend on the client.
    pub(crate) fn flags(&self) -> u16 {
        let mut flags =
            export::HAS_FLAGS | export::SEND_FLUSH | export::SEND_FUA | export::SEND_CACHE;
        if self.shared {
            flags |= export::CAN_MULTI_CONN;
        }
        if self.writable {
            flags | export::SEND_TRIM | export::SEND_WRITE_ZEROES | export::SEND_FAST_ZERO
        } else {
            flags | export::READ_ONLY
        }
    }

    /// Unit of requests in bytes.
    pub(crate) fn alignment(&self) -> u32 {
        self.root.node().request_alignment().clamp(1, 32 << 20)
    }
}
