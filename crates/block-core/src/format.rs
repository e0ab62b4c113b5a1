//! A format: maps guest offsets to places in its children, and does no data I/O itself.
//!
//! Reading, `map`, `convert`, block status and mirror all follow from the one answer of
//! [`Format::map`]. Writing is `prepare`, the engine's data write, `commit`: a mapping never points at bytes
//! that are not there yet.

use std::io;

use qapi::{Dict, Error};

use crate::{
    BoxFuture, Extent, FindObject, Geometry, Node, Place, Placement, Preallocation, Progress,
};

/// The mapping of one image. Methods may be called from several threads at once; the engine holds a
/// range lock over the clusters from [`Format::prepare`] to [`Format::commit`], over [`Format::zero`] and
/// [`Format::discard`], so two of these never run for one cluster. Reads hold none: an answer of `map` may
/// be stale only for a reader that races with a writer of the same bytes.
pub trait Format: Send + Sync {
    /// Size and units; lock-free.
    fn geometry(&self) -> Geometry;

    /// What is at `offset`, for at most `len` bytes (in bounds, `len` at least 1). Long answers are
    /// better: contiguous clusters are one extent.
    fn map(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<Extent>>;

    /// The same, when it can be said at once without I/O or waiting: the hot path of reads.
    fn map_cached(&self, _offset: u64, _len: u64) -> Option<Extent> {
        None
    }

    /// Finds a place for guest bytes, allocating where needed. `ENOTSUP` for a read-only format.
    fn prepare(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<Placement>>;

    /// The same, only when the bytes are overwritten in place and that is known without I/O or waiting.
    fn prepare_cached(&self, _offset: u64, _len: u64) -> Option<Placement> {
        None
    }

    /// Data of a fresh placement is written: make it visible.
    fn commit<'a>(&'a self, placement: &'a Placement) -> BoxFuture<'a, io::Result<()>>;

    /// Data of a fresh placement could not be written: give the space back.
    fn cancel<'a>(&'a self, placement: &'a Placement) -> BoxFuture<'a, ()>;

    /// Makes a range read as zeroes without data, giving its space back if `may_unmap`. The range is
    /// a multiple of [`Geometry::zero_granularity`] (its end may instead be the end of the disk). `ENOTSUP` when the
    /// format cannot say so: the engine then writes zeroes.
    fn zero(&self, _offset: u64, _len: u64, _may_unmap: bool) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(std::future::ready(Err(io::ErrorKind::Unsupported.into())))
    }

    /// Drops a cluster-aligned range (its end may be the end of the disk): it reads as zeroes after, or
    /// is left as it was. `ENOTSUP` is not an error to callers.
    fn discard(&self, _offset: u64, _len: u64) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(std::future::ready(Err(io::ErrorKind::Unsupported.into())))
    }

    /// Unpacks a cluster (`packed` may be longer than the stream); all of `cluster` must be filled.
    fn decompress(&self, _packed: &[u8], _cluster: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Unpacks the cluster that starts at `cluster_start`, for formats that pack in more ways than one.
    fn decompress_at(
        &self,
        _cluster_start: u64,
        packed: &[u8],
        cluster: &mut [u8],
    ) -> io::Result<()> {
        self.decompress(packed, cluster)
    }

    /// Block status says nothing but "data, somewhere" of the whole disk, as QEMU's driver for the format does.
    fn opaque(&self) -> bool {
        false
    }

    /// Metadata is written in an order that survives a crash at any point, and the children are flushed.
    fn flush(&self) -> BoxFuture<'_, io::Result<()>>;

    /// Where the area for VM state begins, behind the disk; `None`: there is none. [`Format::map`] and
    /// [`Format::prepare`] then take what lies behind it, too.
    fn vm_state_offset(&self) -> Option<u64> {
        None
    }

    /// Last call before the node goes away: stores what is kept in memory (bitmaps, dirty bits) and flushes.
    fn close(&self) -> BoxFuture<'_, qapi::Result<()>> {
        Box::pin(async {
            self.flush()
                .await
                .map_err(|e| Error::from_io("Could not close the image", &e))
        })
    }

    /// The backing file is open: formats that name its content look at it.
    fn backing_opened<'a>(&'a self, _backing: &'a Node) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    /// What `info` shows.
    fn info(&self) -> BoxFuture<'_, qapi::Result<FormatInfo>>;

    /// The node becomes writable or read-only (already permitted by the graph).
    fn set_read_only(&self, _read_only: bool) -> BoxFuture<'_, qapi::Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// What is stored as [`crate::ExtentKind::Data`] is enciphered. The disk is whole [`CIPHER_UNIT`]s long, and what
    /// lies together on it does so in the child at least for one.
    fn cipher(&self) -> Option<&dyn Cipher> {
        None
    }

    /// Only packed clusters can be written: every write is one.
    fn packs_all(&self) -> bool {
        false
    }
    /// Packed clusters can be written.
    fn compress(&self) -> Option<&dyn Compress> {
        None
    }
    /// Internal snapshots.
    fn snapshots(&self) -> Option<&dyn Snapshots> {
        None
    }
    /// Persistent dirty bitmaps.
    fn bitmaps(&self) -> Option<&dyn Bitmaps> {
        None
    }
    /// Consistency check and repair.
    fn check(&self) -> Option<&dyn Check> {
        None
    }
    /// Change of the virtual size.
    fn resize(&self) -> Option<&dyn Resize> {
        None
    }
    /// Change of create options.
    fn amend(&self) -> Option<&dyn Amend> {
        None
    }
    /// Change of the backing file's name.
    fn change_backing(&self) -> Option<&dyn ChangeBacking> {
        None
    }
    /// Dropping all content, so that the backing file shows.
    fn empty(&self) -> Option<&dyn Empty> {
        None
    }
}

/// Unit of enciphered data in bytes.
pub const CIPHER_UNIT: u64 = 512;

/// Encryption of a format's data. Pure CPU work, called from several threads at once. Buffers are whole
/// units that lie at `guest` on the disk and at `host` in the child.
pub trait Cipher: Send + Sync {
    /// Enciphers in place. An error: there is no key.
    fn encrypt(&self, guest: u64, host: u64, buf: &mut [u8]) -> io::Result<()>;
    /// Deciphers in place.
    fn decrypt(&self, guest: u64, host: u64, buf: &mut [u8]) -> io::Result<()>;
    /// `host` does not matter, so that data can be enciphered before its place is known.
    fn ignores_place(&self) -> bool;
}

/// The backing file an image names in its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackingLink {
    /// As written in the image.
    pub file: String,
    /// The format written beside it, if any.
    pub format: Option<String>,
}

/// What `info` shows of a format, beyond geometry.
#[derive(Debug, Clone, Default)]
pub struct FormatInfo {
    /// Shown as `cluster_size`, if the format has clusters.
    pub cluster_size: Option<u64>,
    /// `encrypted: yes`
    pub encrypted: bool,
    /// `compressed` (vmdk streamOptimized and the like).
    pub compressed: bool,
    /// The image was not closed cleanly.
    pub dirty: Option<bool>,
    /// Marked corrupt.
    pub corrupt: bool,
    /// Offset of the area for VM state, if there is one.
    pub vm_state_offset: Option<u64>,
    /// The backing file the image names.
    pub backing: Option<BackingLink>,
    /// `format-specific`: the `data` record; `None` when the format has none.
    pub specific: Option<Dict>,
    /// What a foreign image uses, in plain words, a sentence each; shown where the user asks for an explanation.
    pub uses: Vec<String>,
    /// What names the content in images that stand on this one; not shown.
    pub content_id: Option<String>,
}

/// Writing packed clusters.
pub trait Compress: Send + Sync {
    /// Packs one whole cluster onto the end of `out`. `false`: not smaller, store it plain; `out` is as it was. Pure CPU
    /// work, called from several threads.
    fn pack(&self, cluster: &[u8], out: &mut Vec<u8>) -> io::Result<bool>;

    /// Enters what the packed bytes have to say of the cluster's own place, before they are written.
    fn seal(&self, _guest: u64, _packed: &mut [u8]) {}

    /// Finds room for `packed_len` bytes for the cluster at `guest`; places are handed out in call order.
    fn place(&self, guest: u64, packed_len: u32) -> BoxFuture<'_, io::Result<Place>>;

    /// The packed bytes are written: make them visible.
    fn commit_packed(
        &self,
        guest: u64,
        at: Place,
        packed_len: u32,
    ) -> BoxFuture<'_, io::Result<()>>;
}

/// One internal snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Unique id, a decimal number as text.
    pub id: String,
    /// Tag; not unique.
    pub name: String,
    /// Size of the saved machine state in bytes.
    pub vm_state_size: u64,
    /// Wall clock, seconds since 1970.
    pub date_sec: u32,
    /// Wall clock, nanoseconds.
    pub date_nsec: u32,
    /// Guest clock in nanoseconds.
    pub vm_clock_nsec: u64,
    /// Instruction count, if recorded.
    pub icount: Option<u64>,
    /// Disk size when it was taken, in bytes.
    pub disk_size: u64,
}

/// Internal snapshots. `key` is an id, then a name.
pub trait Snapshots: Send + Sync {
    /// In the order of the table.
    fn list(&self) -> Vec<SnapshotInfo>;
    /// Takes one; `info.id` is chosen by the format.
    fn create(&self, info: SnapshotInfo) -> BoxFuture<'_, qapi::Result<()>>;
    /// Goes back to one.
    fn apply<'a>(&'a self, key: &'a str) -> BoxFuture<'a, qapi::Result<()>>;
    /// Drops one.
    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, qapi::Result<()>>;
    /// Shows one read-only through this node instead of the active state (`-l`).
    fn load<'a>(
        &'a self,
        id: Option<&'a str>,
        name: Option<&'a str>,
    ) -> BoxFuture<'a, qapi::Result<()>>;
}

/// One persistent bitmap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BitmapInfo {
    /// Unique name.
    pub name: String,
    /// Bytes a bit stands for.
    pub granularity: u64,
    /// Recording ("auto").
    pub enabled: bool,
    /// Was in use when the image was last closed: content is unknown.
    pub inconsistent: bool,
}

/// Persistent dirty bitmaps. Errors use QEMU's words without the `Operation … failed` prefix.
pub trait Bitmaps: Send + Sync {
    /// In the order of the directory.
    fn list(&self) -> Vec<BitmapInfo>;
    /// Adds an empty one (`granularity` `None`: the default, 64 KiB or the cluster size if smaller than that).
    fn add<'a>(
        &'a self,
        name: &'a str,
        granularity: Option<u64>,
    ) -> BoxFuture<'a, qapi::Result<()>>;
    /// Removes one, also an inconsistent one.
    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, qapi::Result<()>>;
    /// Clears all bits.
    fn clear<'a>(&'a self, name: &'a str) -> BoxFuture<'a, qapi::Result<()>>;
    /// Starts or stops recording.
    fn set_enabled<'a>(&'a self, name: &'a str, enabled: bool) -> BoxFuture<'a, qapi::Result<()>>;
    /// Dirty ranges (offset, length in bytes), ascending, multiples of the granularity.
    fn dirty_ranges<'a>(&'a self, name: &'a str) -> BoxFuture<'a, qapi::Result<Vec<(u64, u64)>>>;
    /// Marks ranges dirty (merge).
    fn mark<'a>(
        &'a self,
        name: &'a str,
        ranges: &'a [(u64, u64)],
    ) -> BoxFuture<'a, qapi::Result<()>>;
}

/// What a check may repair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fix {
    /// Space that nothing uses.
    pub leaks: bool,
    /// Everything else.
    pub errors: bool,
}

/// What a check is to do.
pub struct CheckRequest<'a> {
    /// What to repair.
    pub fix: Fix,
    /// Receives each detail line (`Leaked cluster 8 refcount=1 reference=0`, `ERROR …`, `Repairing …`), in QEMU's words.
    pub detail: &'a mut (dyn FnMut(&str) + Send),
}

/// What a check found; counts are QEMU's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Errors that stay.
    pub corruptions: u64,
    /// Leaks that stay.
    pub leaks: u64,
    /// Places that could not be checked.
    pub check_errors: u64,
    /// Errors repaired.
    pub corruptions_fixed: u64,
    /// Leaks repaired.
    pub leaks_fixed: u64,
    /// End of the last used cluster.
    pub image_end_offset: u64,
    /// Guest clusters of the disk.
    pub total_clusters: u64,
    /// Those with data.
    pub allocated_clusters: u64,
    /// Those not behind their predecessor.
    pub fragmented_clusters: u64,
    /// Those packed.
    pub compressed_clusters: u64,
}

/// Consistency check and repair.
pub trait Check: Send + Sync {
    /// Walks all metadata. `Err` only when the check itself could not be done.
    fn check<'a>(&'a self, request: CheckRequest<'a>) -> BoxFuture<'a, qapi::Result<CheckReport>>;
}

/// A new virtual size.
#[derive(Debug, Clone, Copy)]
pub struct ResizeRequest {
    /// In bytes.
    pub size: u64,
    /// For the grown part.
    pub preallocation: Preallocation,
}

/// Change of the virtual size.
pub trait Resize: Send + Sync {
    /// Grows or shrinks.
    fn resize(&self, request: ResizeRequest) -> BoxFuture<'_, qapi::Result<()>>;
}

/// What to amend.
pub struct AmendRequest<'a> {
    /// Options by name, typed as [`crate::FormatDriver::amend_options`] says.
    pub options: &'a Dict,
    /// `--force`
    pub force: bool,
    /// Told how far it is.
    pub progress: &'a dyn Progress,
    /// Finds secrets.
    pub object: FindObject<'a>,
}

/// Change of create options.
pub trait Amend: Send + Sync {
    /// Applies all, or fails with the image still valid.
    fn amend<'a>(&'a self, request: AmendRequest<'a>) -> BoxFuture<'a, qapi::Result<()>>;
}

/// Change of the backing file's name in the header.
pub trait ChangeBacking: Send + Sync {
    /// Writes the new link, or none.
    fn set_backing<'a>(&'a self, link: Option<&'a BackingLink>) -> BoxFuture<'a, qapi::Result<()>>;
}

/// Dropping all content.
pub trait Empty: Send + Sync {
    /// After it every guest byte comes from the backing file.
    fn make_empty(&self) -> BoxFuture<'_, qapi::Result<()>>;
}
