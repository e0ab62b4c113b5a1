//! Targets that read and write qcow2 images: a valid image is made in memory once, changed as the input says, and then
//! opened, read, written, checked and snapshotted. It may refuse; it may not panic, hang or grow. And an image
//! that `check` finds clean must stay clean through all of it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use block_core::testing::MemoryFile;
use block_core::{
    BoxFuture, CheckReport, CheckRequest, CreateRequest, Edge, Fix, FormatDriver, Gate, Kind, Node,
    NodeSpec, OpenRequest, Perms, Role, Root, SnapshotInfo, WriteFlags, ZeroFlags,
};
use qapi::{Dict, Error, Value};

use crate::mutate::words;

const SIZE: u64 = 512 << 10;
const CLUSTER: u64 = 4096;
/// Fills data, so that it is told from metadata.
const DATA: u8 = 0x5a;

/// Creates files in memory and opens nothing else.
#[derive(Default)]
pub(crate) struct MemoryGate(Mutex<Option<MemoryFile>>);

impl MemoryGate {
    /// The file that was created last.
    pub(crate) fn take(&self) -> Option<MemoryFile> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Gate for MemoryGate {
    fn open_child<'a>(
        &'a self,
        _role: Role,
        _name: &'static str,
        _options: Option<Value>,
        _named_by_image: Option<&'a str>,
    ) -> BoxFuture<'a, qapi::Result<Arc<Edge>>> {
        Box::pin(std::future::ready(Err(Error::new("not here"))))
    }

    fn create_file<'a>(
        &'a self,
        filename: &'a str,
        _options: &'a Dict,
    ) -> BoxFuture<'a, qapi::Result<Arc<Node>>> {
        let file = MemoryFile::new(Vec::new());
        let node = file.node(filename, false);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        Box::pin(std::future::ready(Ok(node)))
    }
}

fn driver() -> &'static FormatDriver {
    let found = block_formats::FORMATS.iter().find(|d| d.name == "qcow2");
    found.expect("qcow2 is in the list")
}

/// A valid image with data, zeroes, a snapshot and a bitmap.
fn base() -> &'static [u8] {
    static BASE: OnceLock<Vec<u8>> = OnceLock::new();
    BASE.get_or_init(|| block(make_base()).expect("a new image can be made"))
}

pub(crate) fn block<T>(future: impl Future<Output = T>) -> T {
    reactor::block_on(future).expect("threads can be had")
}

async fn make_base() -> qapi::Result<Vec<u8>> {
    let gate = MemoryGate::default();
    let mut options = Dict::new();
    options.insert("size", Value::from(SIZE));
    options.insert("cluster_size", Value::from(CLUSTER));
    let create = driver().create.expect("qcow2 can be created");
    create(CreateRequest {
        filename: "base",
        options: &options,
        gate: &gate,
    })
    .await?;
    let file = gate.take().expect("create made a file");
    let root = open(&file, &gate).await?;
    let io = |e: std::io::Error| Error::from_io("base image", &e);
    let data = [DATA; 5 * 4096];
    root.write(0, &data, WriteFlags::default())
        .await
        .map_err(io)?;
    root.write(200_000, &data, WriteFlags::default())
        .await
        .map_err(io)?;
    root.write_zeroes(40_960, 8192, ZeroFlags::default())
        .await
        .map_err(io)?;
    let node = root.node();
    let format = node.format().expect("it is an image");
    if let Some(bitmaps) = format.bitmaps() {
        bitmaps.add("b", None).await?;
    }
    if let Some(snapshots) = format.snapshots() {
        snapshots.create(named("s")).await?;
    }
    root.write(4096, &data[..4096], WriteFlags::default())
        .await
        .map_err(io)?;
    root.close().await?;
    Ok(file.snapshot())
}

fn named(name: &str) -> SnapshotInfo {
    SnapshotInfo {
        name: name.to_owned(),
        ..SnapshotInfo::default()
    }
}

async fn open(file: &MemoryFile, gate: &MemoryGate) -> qapi::Result<Root> {
    let mut options = Dict::new();
    let opened = (driver().open)(OpenRequest {
        file: file.edge(false),
        options: &mut options,
        read_write: true,
        check_only: false,
        no_io: false,
        unmap: false,
        gate,
    })
    .await?;
    let spec = NodeSpec {
        options,
        ..NodeSpec::new("image", "qcow2")
    };
    let node = Node::new(spec, Kind::format(opened.format, opened.edges, None));
    let used = Perms::CONSISTENT_READ | Perms::WRITE | Perms::RESIZE;
    Root::attach(node, used, Perms::ALL)
}

async fn check(root: &Root, fix: Fix) -> Option<CheckReport> {
    let node = root.node();
    let check = node.format()?.check()?;
    let detail = &mut |_: &str| {};
    check.check(CheckRequest { fix, detail }).await.ok()
}

fn is_clean(report: &CheckReport) -> bool {
    report.corruptions == 0 && report.leaks == 0 && report.check_errors == 0
}

/// Does everything to an image.
fn exercise(bytes: Vec<u8>) {
    block(async {
        let gate = MemoryGate::default();
        let file = MemoryFile::new(bytes);
        let Ok(root) = open(&file, &gate).await else {
            return;
        };
        let clean = check(&root, Fix::default())
            .await
            .is_some_and(|r| is_clean(&r));
        let length = root.length().unwrap_or(0);
        let worked = use_it(&root, length).await;
        if clean && worked {
            let report = check(&root, Fix::default()).await;
            let report = report.expect("a clean image can be checked");
            assert!(is_clean(&report), "was clean, and is now {report:?}");
        }
        let all = Fix {
            leaks: true,
            errors: true,
        };
        check(&root, all).await;
        let _ = root.close().await;
    });
}

/// Reads, writes, zeroes, discards and snapshots; whether all of it worked.
async fn use_it(root: &Root, length: u64) -> bool {
    let mut buf = vec![0; 16 << 10];
    let mut worked = true;
    let places = [
        0,
        4096,
        40_960,
        200_000,
        length / 2,
        length.saturating_sub(20_000),
    ];
    for at in places {
        if at.checked_add(16 << 10).is_some_and(|end| end <= length) {
            worked &= root.read(at, &mut buf).await.is_ok();
            worked &= root
                .write(at + 100, &buf[..9000], WriteFlags::default())
                .await
                .is_ok();
            worked &= root.status(at, 16 << 10).await.is_ok();
        }
    }
    if length >= 64 << 10 {
        let unmap = ZeroFlags {
            may_unmap: true,
            ..ZeroFlags::default()
        };
        worked &= root.write_zeroes(8192, 20_480, unmap).await.is_ok();
        worked &= root.discard(0, 8192).await.is_ok();
    }
    worked &= root.flush().await.is_ok();
    let node = root.node();
    let Some(format) = node.format() else {
        return false;
    };
    if let Some(snapshots) = format.snapshots() {
        for info in snapshots.list().into_iter().take(3) {
            worked &= snapshots.delete(&info.id).await.is_ok();
        }
        worked &= snapshots.create(named("t")).await.is_ok();
        worked &= snapshots.apply("t").await.is_ok();
    }
    if let Some(bitmaps) = format.bitmaps() {
        for info in bitmaps.list().into_iter().take(3) {
            let _ = bitmaps.dirty_ranges(&info.name).await;
            worked &= bitmaps.remove(&info.name).await.is_ok();
        }
    }
    worked
}

/// The input is the start of the file.
pub fn header(data: &[u8]) {
    let mut image = base().to_vec();
    let len = data.len().min(image.len());
    image[..len].copy_from_slice(&data[..len]);
    exercise(image);
}

/// The input is what stands behind the header's fields.
pub fn extensions(data: &[u8]) {
    const FIELDS: usize = 112;
    let mut image = base().to_vec();
    let len = data.len().min(4096 - FIELDS);
    image[FIELDS..FIELDS + len].copy_from_slice(&data[..len]);
    exercise(image);
}

/// The input changes words of any metadata.
pub fn tables(data: &[u8]) {
    static PLACES: OnceLock<Vec<usize>> = OnceLock::new();
    let places = PLACES.get_or_init(|| {
        let plain = [DATA; 8];
        let is_metadata = |at: &usize| {
            let word = &base()[*at..*at + 8];
            word != plain && (*at < 128 || word != [0; 8])
        };
        (0..base().len() / 8)
            .map(|w| w * 8)
            .filter(is_metadata)
            .collect()
    });
    change(places, data);
}

/// The input changes words of the snapshot table and of what the header says of it.
pub fn snapshots(data: &[u8]) {
    let table = number(64);
    let places: Vec<usize> = [56, 64]
        .into_iter()
        .chain((table..table + 96).step_by(4))
        .collect();
    change(&places, data);
}

/// The input changes words of the bitmap directory, of the extension that names it, and of the tables.
pub fn bitmaps(data: &[u8]) {
    let extension = base()[..4096]
        .windows(4)
        .position(|w| w == [0x23, 0x85, 0x28, 0x75])
        .expect("the base image has a bitmap");
    let directory = number(extension + 24);
    let table = number(directory);
    let places: Vec<usize> = (extension..extension + 32)
        .chain(directory..directory + 32)
        .chain(table..table + 8)
        .step_by(4)
        .collect();
    change(&places, data);
}

fn change(places: &[usize], data: &[u8]) {
    let mut image = base().to_vec();
    words(&mut image, places, data);
    exercise(image);
}

/// A big-endian 64-bit number of the base image.
fn number(at: usize) -> usize {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&base()[at..at + 8]);
    usize::try_from(u64::from_be_bytes(bytes)).expect("offsets are small here")
}

/// The base image's own header.
pub(crate) fn header_seeds() -> Vec<Vec<u8>> {
    vec![base()[..120].to_vec(), base()[..1024].to_vec()]
}

/// The base image's own extensions.
pub(crate) fn extension_seeds() -> Vec<Vec<u8>> {
    vec![base()[112..1024].to_vec()]
}

/// Scripts of one to four changes, and none.
pub(crate) fn word_seeds() -> Vec<Vec<u8>> {
    let mut random = crate::mutate::Random::new(1);
    let script = |steps: usize, random: &mut crate::mutate::Random| {
        (0..steps * 11)
            .map(|_| random.word().to_le_bytes()[0])
            .collect()
    };
    let mut seeds = vec![Vec::new()];
    for steps in 1..=4 {
        for _ in 0..8 {
            seeds.push(script(steps, &mut random));
        }
    }
    seeds
}
