//! Opening an image: header, L1 table, refcount table, data file.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};
use std::time::Duration;

use block_core::{BackingLink, Edge, Event, OpenRequest, Opened, Role, Slot};
use qapi::{Dict, Error, Result, opts};

use super::bitmap::directory::Location;
use super::bitmap::{self, BitmapSet};
use super::encryption;
use super::header::{CompressionType, Header, autoclear, compatible, extension, incompatible};
use super::layout::Layout;
use super::overlap::Occupied;
use super::refcount::{BLOCK_BUDGET, Refcounts};
use super::slices::SliceCache;
use super::snapshot::table::Reading;
use super::snapshot::{self, SnapshotSet};
use super::{Meta, Qcow2, state};

const EINVAL: i32 = 22;
const EACCES: i32 = 13;

/// L2 slices kept when nothing else is asked for, in bytes.
const DEFAULT_L2_CACHE: u64 = 32 << 20;

/// Unit in which QEMU keeps L2 tables when nothing else is asked for, in bytes.
const DEFAULT_ENTRY: u64 = 4096;

/// Largest cache of refcount blocks, in bytes: no machine has memory for more.
const MOST_REFCOUNTS: u64 = 1 << 40;

/// How long an unused table is kept when nothing else is asked for.
const CLEAN_INTERVAL: Duration = Duration::from_secs(600);

/// What the caller chose for this open image.
pub(super) struct Options {
    pub(super) compression: CompressionType,
    /// Freed clusters become holes of the file.
    pub(super) pass_discard: bool,
    /// Refcounts may be written late; the image is marked dirty meanwhile.
    pub(super) lazy_refcounts: bool,
    l2_cache: u64,
    pub(super) refcount_cache: u64,
    /// Tables that nobody used for so long leave memory.
    pub(super) clean_interval: Option<Duration>,
}

/// Names of metadata kinds whose overlap can be looked for. All are looked for always, so they are only checked for
/// their type.
const OVERLAP_KINDS: [&str; 9] = [
    "main-header",
    "active-l1",
    "active-l2",
    "refcount-table",
    "refcount-block",
    "snapshot-table",
    "inactive-l1",
    "inactive-l2",
    "bitmap-directory",
];

impl Options {
    pub(super) fn take(options: &mut Dict, header: &Header, unmap: bool) -> Result<Self> {
        let lazy = opts::take_bool(options, "lazy-refcounts")?;
        if lazy == Some(true) && header.version < 3 {
            return Err(invalid(
                "Lazy refcounts require a qcow2 image with at least qemu 1.1 compatibility level",
            ));
        }
        check_overlap_options(options)?;
        let (l2_cache, refcount_cache) = caches(options, header)?;
        for accepted in [
            "pass-discard-snapshot",
            "pass-discard-other",
            "discard-no-unref",
        ] {
            opts::take_bool(options, accepted)?;
        }
        Ok(Self {
            compression: header.compression,
            pass_discard: opts::take_bool(options, "pass-discard-request")?.unwrap_or(unmap),
            lazy_refcounts: lazy.unwrap_or(header.compatible & compatible::LAZY_REFCOUNTS != 0),
            l2_cache,
            refcount_cache,
            clean_interval: clean_interval(options)?,
        })
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(message).errno(EINVAL)
}

fn check_overlap_options(options: &mut Dict) -> Result<()> {
    let modes = ["none", "constant", "cached", "all"];
    let check = match options.remove("overlap-check") {
        Some(qapi::Value::Dict(nested)) => {
            // By their whole names, for messages; those that nobody takes are told by the caller.
            for (name, value) in nested.into_entries() {
                options.insert(format!("overlap-check.{name}"), value);
            }
            None
        }
        Some(qapi::Value::Str(mode)) => Some(mode),
        _ => None,
    };
    for kind in OVERLAP_KINDS {
        opts::take_bool(options, &format!("overlap-check.{kind}"))?;
    }
    let template = opts::take_str(options, "overlap-check.template")?;
    if let (Some(check), Some(template)) = (&check, &template)
        && check != template
    {
        return Err(invalid(format!(
            "Conflicting values for qcow2 options 'overlap-check' ('{check}') and 'overlap-check.template' ('{template}')"
        )));
    }
    for mode in check.into_iter().chain(template) {
        if !modes.contains(&mode.as_str()) {
            return Err(invalid(format!(
                "Unsupported value '{mode}' for qcow2 option 'overlap-check'. \
                 Allowed are any of the following: none, constant, cached, all"
            )));
        }
    }
    Ok(())
}

/// `cache-clean-interval`, in seconds; 0: never.
fn clean_interval(options: &mut Dict) -> Result<Option<Duration>> {
    let Some(seconds) = opts::take_number(options, "cache-clean-interval")? else {
        return Ok(Some(CLEAN_INTERVAL));
    };
    match u32::try_from(seconds) {
        Ok(seconds) => Ok((seconds > 0).then(|| Duration::from_secs(seconds.into()))),
        Err(_) => Err(invalid("Cache clean interval too big")),
    }
}

/// Bytes of L2 slices and of refcount blocks that are kept.
fn caches(options: &mut Dict, header: &Header) -> Result<(u64, u64)> {
    let all = opts::take_size(options, "cache-size")?;
    let l2 = opts::take_size(options, "l2-cache-size")?;
    let refcounts = opts::take_size(options, "refcount-cache-size")?;
    let entry = opts::take_size(options, "l2-cache-entry-size")?;
    if let Some(all) = all {
        if l2.is_some() && refcounts.is_some() {
            return Err(invalid(
                "cache-size, l2-cache-size and refcount-cache-size may not be set at the same time",
            ));
        }
        for (size, name) in [(l2, "l2-cache-size"), (refcounts, "refcount-cache-size")] {
            if size.is_some_and(|size| size > all) {
                return Err(invalid(format!("{name} may not exceed cache-size")));
            }
        }
    }
    let cluster = 1_u64 << header.cluster_bits;
    if entry.is_some_and(|size| size < 512 || size > cluster || !size.is_power_of_two()) {
        return Err(invalid(format!(
            "L2 cache entry size must be a power of two between 512 and the cluster size ({cluster})"
        )));
    }
    // Of a whole that nothing is said of, L2 tables get what all of them need.
    let entry_bytes = if header.extended_l2() { 16 } else { 8 };
    let l2_most = (header.size.div_ceil(cluster) * entry_bytes).next_multiple_of(cluster);
    let refcounts = refcounts.or_else(|| Some(all? - l2.unwrap_or(l2_most.min(all?))));
    // More than all tables need is no more than that; refcounts have no such end.
    let most = i32::MAX.unsigned_abs().into();
    if refcounts.is_some_and(|size| size / cluster > most) {
        return Err(invalid("Refcount cache size too big"));
    }
    if refcounts.is_some_and(|size| size > MOST_REFCOUNTS) {
        return Err(invalid("Could not allocate metadata caches"));
    }
    let slices = l2.map(|size| size.min(l2_most) / entry.unwrap_or(cluster.min(DEFAULT_ENTRY)));
    if slices.is_some_and(|count| count > most) {
        return Err(invalid("L2 cache size too big"));
    }
    let l2 = l2.map(|size| size.min(most));
    // What is left of the whole is the other's.
    let l2_cache = l2.or(all.map(|all| all - refcounts.unwrap_or(0)));
    Ok((
        l2_cache.unwrap_or(DEFAULT_L2_CACHE),
        refcounts.unwrap_or(BLOCK_BUDGET),
    ))
}

/// [`block_core::FormatDriver::open`].
pub(super) async fn open(mut request: OpenRequest<'_>) -> Result<Opened> {
    let header = read_header(&request.file).await?;
    check_openable(&header, &request)?;
    let options = Options::take(request.options, &header, request.unmap)?;
    let encryption = encryption::open(&header, &mut request).await?;
    let (data_slot, edges) = open_data(&header, &mut request).await?;
    let data = edges
        .last()
        .map_or_else(|| Arc::clone(&request.file), Arc::clone);
    let backing = backing_link(&header);
    let mut image = build(
        request.file,
        (data_slot, data),
        header,
        options,
        !request.read_write,
    )
    .await?;
    image.encryption = encryption;
    if !request.check_only {
        image.read_lists().await?;
    }
    if request.read_write {
        image.clear_unknown_autoclear().await?;
        if !request.check_only {
            image.repair_dirty().await?;
        }
    }
    image.start_cleaning();
    Ok(Opened {
        format: Box::new(image),
        edges,
        backing,
    })
}

/// Reads the first cluster and the header in it.
pub(super) async fn read_header(file: &Edge) -> Result<Header> {
    let failed = |e: io::Error| Error::from_io("Could not read qcow2 header", &e);
    let mut bytes = vec![0; 512];
    file.read(0, &mut bytes).await.map_err(failed)?;
    let cluster = Header::cluster_len(&bytes)?;
    bytes.resize(cluster, 0);
    if cluster > 512 {
        file.read(512, &mut bytes[512..]).await.map_err(failed)?;
    }
    Header::parse(&bytes)
}

fn check_openable(header: &Header, request: &OpenRequest<'_>) -> Result<()> {
    if !request.check_only {
        header.check_usable()?;
    }
    let corrupt = header.incompatible & incompatible::CORRUPT != 0;
    if corrupt && request.read_write && !request.check_only {
        return Err(
            Error::new("qcow2: Image is corrupt; cannot be opened read/write").errno(EACCES),
        );
    }
    Ok(())
}

/// The children by slot, and which of them holds data.
async fn open_data(
    header: &Header,
    request: &mut OpenRequest<'_>,
) -> Result<(Slot, Vec<Arc<Edge>>)> {
    let file = Arc::clone(&request.file);
    let given = request.options.remove("data-file");
    if !header.has_data_file() {
        if given.is_some() {
            return Err(invalid(
                "'data-file' can only be set for images with an external data file",
            ));
        }
        return Ok((Slot::FILE, vec![file]));
    }
    if request.no_io {
        return Ok((Slot::FILE, vec![file]));
    }
    let named = header.extension_text(extension::DATA_FILE);
    if given.is_none() && named.is_none() {
        return Err(invalid("'data-file' is required for this image"));
    }
    let gate = request.gate;
    let data = gate
        .open_child(Role::Data, "data-file", given, named.as_deref())
        .await?;
    Ok((Slot(1), vec![file, data]))
}

/// The backing file as the header names it.
pub(super) fn backing_link(header: &Header) -> Option<BackingLink> {
    let name = header.backing.as_ref().filter(|name| !name.is_empty())?;
    Some(BackingLink {
        file: String::from_utf8_lossy(name).into_owned(),
        format: header.extension_text(extension::BACKING_FORMAT),
    })
}

/// Reads a table of words.
pub(super) async fn read_words(file: &Edge, offset: u64, count: usize) -> io::Result<Vec<u64>> {
    let mut bytes = vec![0; count * 8];
    file.read(offset, &mut bytes).await?;
    let words = bytes
        .chunks_exact(8)
        .filter_map(|word| word.try_into().ok());
    Ok(words.map(u64::from_be_bytes).collect())
}

/// An open image over its children.
pub(super) async fn build(
    file: Arc<Edge>,
    (data_slot, data): (Slot, Arc<Edge>),
    header: Header,
    options: Options,
    read_only: bool,
) -> Result<Qcow2> {
    let layout = Layout::new(&header);
    let failed = |what: &'static str| {
        move |e: io::Error| Error::from_io(format!("Could not read {what}"), &e)
    };
    // Both lengths were bounded with the header.
    let l1_len = usize::try_from(header.l1_size).unwrap_or(0);
    let l1 = read_words(&file, header.l1_offset, l1_len)
        .await
        .map_err(failed("L1 table"))?;
    let mut refcounts = read_refcounts(&file, &header)
        .await
        .map_err(failed("refcount table"))?;
    refcounts.set_budget(options.refcount_cache);
    let meta = Meta {
        occupied: Occupied::new(&header, &l1, refcounts.table()),
        l1,
        dirty_l1: BTreeSet::new(),
        refcounts,
        dirty_slices: BTreeMap::new(),
        pending_free: Vec::new(),
        waiting: 0,
        packed_end: 0,
        moving: None,
        next_miss: 0,
        ahead: 0,
        shrinking: false,
        told_corrupt: false,
        header,
    };
    Ok(Qcow2 {
        file,
        data_slot,
        data,
        layout,
        size: AtomicU64::new(meta.header.size),
        read_only: AtomicBool::new(read_only),
        broken: AtomicBool::new(false),
        writing: AtomicBool::new(false),
        holes: AtomicU8::new(state::UNKNOWN),
        slices: Arc::new(SliceCache::new(layout, meta.header.size, options.l2_cache)),
        options,
        encryption: None,
        snapshots: SnapshotSet::default(),
        bitmaps: BitmapSet::new(None, Vec::new()),
        work: tokio::sync::Mutex::default(),
        meta: Arc::new(tokio::sync::Mutex::new(meta)),
        cleaning: None,
    })
}

/// The refcount table that a header points to, with no block read yet.
pub(super) async fn read_refcounts(file: &Edge, header: &Header) -> io::Result<Refcounts> {
    let words =
        usize::try_from(header.refcount_table_clusters).unwrap_or(0) << (header.cluster_bits - 3);
    file.event(Event::ReftableLoad).await;
    let table = read_words(file, header.refcount_table_offset, words).await?;
    let (bits, order) = (header.cluster_bits, header.refcount_order);
    Ok(Refcounts::new(
        bits,
        order,
        header.refcount_table_offset,
        table,
    ))
}

impl Qcow2 {
    /// Reads the snapshot table and the bitmap directory.
    pub(super) async fn read_lists(&mut self) -> Result<()> {
        self.read_snapshots().await?;
        self.read_bitmaps().await
    }

    async fn read_snapshots(&mut self) -> Result<()> {
        let header = self.header().await;
        if header.nb_snapshots == 0 {
            return Ok(());
        }
        let offset = header.snapshots_offset;
        let place = (offset, header.nb_snapshots);
        let table = snapshot::read_table(&self.file, place, Reading::Strict).await?;
        self.snapshots = SnapshotSet::new(offset, table);
        Ok(())
    }

    /// A program that does not know bitmaps clears the bit that vouches for them.
    async fn read_bitmaps(&mut self) -> Result<()> {
        let header = self.header().await;
        let Some(payload) = header.extension(extension::BITMAPS) else {
            return Ok(());
        };
        if header.autoclear & autoclear::BITMAPS == 0 {
            if header.version >= 3 {
                qapi::warn(
                    "a program lacking bitmap support modified this file, so all bitmaps are now considered inconsistent",
                );
            }
            eprintln!(
                "Some clusters may be leaked, run 'qemu-img check -r' on the image file to fix."
            );
            return Ok(());
        }
        let cluster_size = self.layout.cluster_size();
        let location = Location::decode(payload, cluster_size)?;
        let size = header.size;
        let entries = bitmap::read_directory(&self.file, location, size, cluster_size).await?;
        self.bitmaps = BitmapSet::new(Some(location), entries);
        Ok(())
    }

    /// A writer that does not know an autoclear bit makes what it stands for stale.
    async fn clear_unknown_autoclear(&self) -> Result<()> {
        let mut meta = self.meta.lock().await;
        let mut new = meta.header.clone();
        new.autoclear &= autoclear::KNOWN;
        if new.autoclear & autoclear::BITMAPS == 0 {
            new.set_extension(extension::BITMAPS, None);
        }
        if new == meta.header {
            return Ok(());
        }
        let failed = |e: io::Error| Error::from_io("Could not update qcow2 header", &e);
        self.store_header(&mut meta, new).await.map_err(failed)?;
        self.file.flush().await.map_err(failed)
    }
}
