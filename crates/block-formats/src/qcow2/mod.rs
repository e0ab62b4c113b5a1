//! qcow2 (qcow2 interoperability document of the QEMU project): header, mapping, refcounts, snapshots, bitmaps.
//!
//! One lock, `Meta`, is held while metadata is changed or read from the file. Reads of what is in memory take
//! none: see `slices`. The order in which metadata reaches the file keeps every crash harmless:
//!
//! ```text
//! data            written by the engine before commit() enters it in an L2 slice
//! write_out():    refcount blocks -> refcount table -> flush -> L2 slices -> flush -> L1 entries -> flush
//!                 -> clusters that no mapping uses any more become free
//! ```
//!
//! What the parts of this folder use of an open image: `allocate_bytes` and `free_bytes` for metadata of their own;
//! `stand_still`, `freeze`, `change_header` and `reload` when they work on the file behind the caches (snapshots, amend, check).

mod alloc;
mod amend;
mod backing;
mod bitmap;
mod check;
mod clean;
mod codec;
mod create;
mod driver;
mod empty;
mod encryption;
mod header;
mod info;
mod layout;
mod map;
mod measure;
mod open;
mod overlap;
mod refcount;
mod resize;
mod slices;
mod snapshot;
mod state;
mod write;
mod write_out;
mod zero;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use block_core::{
    Amend, Bitmaps, BoxFuture, ChangeBacking, Check, Cipher, Compress, Edge, Empty, Extent, Format,
    FormatInfo, Geometry, Place, Placement, Resize, ResizeRequest, Slot, Snapshots,
};

pub use driver::DRIVER;

use bitmap::BitmapSet;
use encryption::Encryption;
use header::Header;
use layout::Layout;
use refcount::Refcounts;
use slices::{Slice, SliceCache};
use snapshot::SnapshotSet;

/// An open qcow2 image.
pub(crate) struct Qcow2 {
    file: Arc<Edge>,
    /// Where data goes: the file itself, or the external data file.
    data_slot: Slot,
    data: Arc<Edge>,
    layout: Layout,
    size: AtomicU64,
    read_only: AtomicBool,
    /// Marked corrupt while open: nothing is served any more.
    broken: AtomicBool,
    /// Header bits that a writer must set are set.
    writing: AtomicBool,
    /// Whether data may be holes of the file (metadata preallocation): not known, no, yes.
    holes: AtomicU8,
    slices: Arc<SliceCache>,
    options: open::Options,
    encryption: Option<Encryption>,
    snapshots: SnapshotSet,
    bitmaps: BitmapSet,
    /// Held by work that needs the metadata to stand still.
    work: tokio::sync::Mutex<()>,
    meta: Arc<tokio::sync::Mutex<Meta>>,
    /// Drops tables that nobody uses, as long as the image is open.
    cleaning: Option<reactor::Every>,
}

/// Metadata that changes, under one lock.
pub(crate) struct Meta {
    header: Header,
    l1: Vec<u64>,
    dirty_l1: BTreeSet<usize>,
    refcounts: Refcounts,
    /// Slices that the file does not have yet, by number.
    dirty_slices: BTreeMap<u64, Arc<Slice>>,
    /// Clusters (first, count) that lose a use once the mappings in memory are in the file.
    pending_free: Vec<(u64, u64)>,
    /// Clusters among them that nothing else uses: room for new data.
    waiting: u64,
    /// Next byte of a cluster that packed clusters share; 0 when there is none.
    packed_end: u64,
    /// The refcount table is on its way: nothing may point to what it counts before it is there.
    moving: Option<alloc::Moving>,
    /// The slice that comes next when slices are read one behind the other, and how many are read then.
    next_miss: u64,
    ahead: u64,
    /// The disk gets smaller: the space it frees goes back to the file system.
    shrinking: bool,
    /// That a read-only image is corrupt has been said.
    told_corrupt: bool,
    /// Metadata clusters that data may never overlap, by cluster number.
    occupied: overlap::Occupied,
}

fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

impl Qcow2 {
    /// Virtual size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Version of the format that the image was opened with.
    pub(crate) fn version(&self) -> u32 {
        self.layout.version
    }

    /// Cluster size in bytes.
    pub(crate) fn cluster_size(&self) -> u64 {
        self.layout.cluster_size()
    }

    /// Whether writes are refused.
    pub(crate) fn read_only(&self) -> bool {
        self.read_only.load(Ordering::Acquire)
    }

    /// Where the area for VM state begins: behind what the L1 entries of the disk map.
    pub(crate) fn vm_state_start(&self) -> u64 {
        let layout = self.layout;
        let entries = header::l1_entries(self.size(), layout.cluster_bits, layout.extended);
        entries.saturating_mul(layout.l2_coverage())
    }

    /// The child that holds metadata.
    pub(crate) fn file(&self) -> &Arc<Edge> {
        &self.file
    }

    /// Whether data is in a file of its own.
    pub(crate) fn has_data_file(&self) -> bool {
        self.layout.data_file
    }

    fn recurse(&self) -> bool {
        self.holes.load(Ordering::Relaxed) == state::HOLES
    }

    fn serving(&self) -> bool {
        !self.broken.load(Ordering::Relaxed)
    }
}

impl Format for Qcow2 {
    fn geometry(&self) -> Geometry {
        Geometry {
            size: self.size(),
            cluster_size: 1 << self.layout.cluster_bits,
            zero_granularity: 1 << self.layout.subcluster_bits(),
        }
    }

    fn map(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<Extent>> {
        Box::pin(async move {
            if !self.serving() {
                return Err(errno(123));
            }
            self.map_slow(offset, len).await
        })
    }

    fn map_cached(&self, offset: u64, len: u64) -> Option<Extent> {
        if !self.serving() || self.holes.load(Ordering::Relaxed) == state::UNKNOWN {
            return None;
        }
        let number = self.layout.slice_of(offset);
        self.slices
            .with(number, |s| self.extent_in(s, offset, len))?
    }

    fn prepare(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<Placement>> {
        Box::pin(self.place(offset, len))
    }

    fn prepare_cached(&self, offset: u64, len: u64) -> Option<Placement> {
        self.in_place_now(offset, len)
    }

    fn commit<'a>(&'a self, placement: &'a Placement) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(self.enter(placement))
    }

    fn cancel<'a>(&'a self, placement: &'a Placement) -> BoxFuture<'a, ()> {
        Box::pin(self.give_up(placement))
    }

    fn zero(&self, offset: u64, len: u64, may_unmap: bool) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.zero_clusters(offset, len, may_unmap))
    }

    fn discard(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.discard_clusters(offset, len))
    }

    fn decompress(&self, packed: &[u8], cluster: &mut [u8]) -> io::Result<()> {
        codec::unpack(self.options.compression, packed, cluster)
    }

    fn flush(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.flush_all())
    }

    fn vm_state_offset(&self) -> Option<u64> {
        Some(self.vm_state_start())
    }

    fn close(&self) -> BoxFuture<'_, qapi::Result<()>> {
        Box::pin(self.close_image())
    }

    fn info(&self) -> BoxFuture<'_, qapi::Result<FormatInfo>> {
        Box::pin(async { Ok(self.describe().await) })
    }

    fn set_read_only(&self, read_only: bool) -> BoxFuture<'_, qapi::Result<()>> {
        Box::pin(self.change_mode(read_only))
    }

    fn cipher(&self) -> Option<&dyn Cipher> {
        let encryption = self.encryption.as_ref()?;
        Some(&encryption.sealed)
    }

    fn compress(&self) -> Option<&dyn Compress> {
        (!self.layout.data_file).then_some(self)
    }

    fn resize(&self) -> Option<&dyn Resize> {
        Some(self)
    }

    fn check(&self) -> Option<&dyn Check> {
        Some(self)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }

    fn bitmaps(&self) -> Option<&dyn Bitmaps> {
        // Version 2 has no place for them.
        (self.version() >= 3).then_some(self)
    }

    fn amend(&self) -> Option<&dyn Amend> {
        Some(self)
    }

    fn change_backing(&self) -> Option<&dyn ChangeBacking> {
        Some(self)
    }

    fn empty(&self) -> Option<&dyn Empty> {
        Some(self)
    }
}

impl Compress for Qcow2 {
    fn pack(&self, cluster: &[u8], out: &mut Vec<u8>) -> io::Result<bool> {
        codec::pack(self.options.compression, cluster, out)
    }

    fn place(&self, guest: u64, packed_len: u32) -> BoxFuture<'_, io::Result<Place>> {
        Box::pin(self.place_packed(guest, packed_len))
    }

    fn commit_packed(
        &self,
        guest: u64,
        at: Place,
        packed_len: u32,
    ) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.enter_packed(guest, at, packed_len))
    }
}

impl Resize for Qcow2 {
    fn resize(&self, request: ResizeRequest) -> BoxFuture<'_, qapi::Result<()>> {
        Box::pin(self.change_size(request))
    }
}
