//! Targets of every format but qcow2: a valid image is made in memory once, words of its metadata are changed as the
//! input says, sums are made right again, and the image is opened, read, written and checked. It may refuse; it may
//! not panic, hang or grow.

use std::sync::OnceLock;

use block_core::testing::MemoryFile;
use block_core::{
    CheckRequest, CreateRequest, Fix, FormatDriver, Kind, Node, NodeSpec, OpenRequest, Perms, Root,
    WriteFlags, ZeroFlags,
};
use house_tests::{Rng, foreign, hyperv};
use qapi::{Dict, Error, Value};

use crate::image::{MemoryGate, block};
use crate::mutate::words;

/// Bytes of a disk.
const SIZE: u64 = 3 << 20;
/// Longest disk that is read from end to end.
const LONG: u64 = 64 << 20;

/// One format's base image, and how to change it.
struct Base {
    format: &'static str,
    image: Vec<u8>,
    /// Where metadata is.
    places: Vec<usize>,
    seal: fn(&mut [u8]),
}

fn driver(format: &str) -> &'static FormatDriver {
    let found = block_formats::FORMATS.iter().find(|d| d.name == format);
    found.expect("the format is in the list")
}

async fn open(driver: &FormatDriver, file: &MemoryFile, write: bool) -> qapi::Result<Root> {
    let mut options = Dict::new();
    let opened = (driver.open)(OpenRequest {
        file: file.edge(!write),
        options: &mut options,
        read_write: write,
        check_only: false,
        no_io: false,
        unmap: false,
        gate: &MemoryGate::default(),
    })
    .await?;
    let spec = NodeSpec {
        options,
        read_only: !write,
        ..NodeSpec::new("image", driver.name)
    };
    let node = Node::new(spec, Kind::format(opened.format, opened.edges, None));
    let mut used = Perms::CONSISTENT_READ;
    if write {
        used = used | Perms::WRITE | Perms::RESIZE;
    }
    Root::attach(node, used, Perms::ALL)
}

/// An image made by the format itself, with data.
fn made(format: &'static str, options: &[(&'static str, Value)]) -> Vec<u8> {
    let make = async {
        let gate = MemoryGate::default();
        let mut dict = Dict::new();
        dict.insert("size", Value::from(SIZE));
        for (name, value) in options {
            dict.insert(*name, value.clone());
        }
        let create = driver(format).create.expect("it can be made");
        create(CreateRequest {
            filename: "base",
            options: &dict,
            gate: &gate,
        })
        .await?;
        let file = gate.take().expect("create made a file");
        let root = open(driver(format), &file, true).await?;
        let cluster = vec![0x5a; 65536];
        for at in [0, 1 << 20] {
            let written = root.write(at, &cluster, WriteFlags::default()).await;
            written.map_err(|e| Error::from_io("base image", &e))?;
        }
        root.close().await?;
        Ok::<_, Error>(file.snapshot())
    };
    block(make).expect("a new image can be made")
}

/// Words of these ranges, and those that are not zero anywhere else and no data.
fn places(image: &[u8], ranges: &[(usize, usize)]) -> Vec<usize> {
    let named = ranges.iter().flat_map(|&(from, to)| (from..to).step_by(4));
    let used = (0..image.len().saturating_sub(8)).step_by(4).filter(|at| {
        let word = &image[*at..*at + 8];
        word != [0; 8] && word != [0x5a; 8] && word != [0xff; 8]
    });
    named.chain(used.take(400)).collect()
}

fn unsealed(_image: &mut [u8]) {}

fn seal_vhd(image: &mut [u8]) {
    if image.len() > 1536 {
        hyperv::vhd_sum(&mut image[..512], 64);
        hyperv::vhd_sum(&mut image[512..1536], 36);
    }
}

fn seal_vhdx(image: &mut [u8]) {
    const KIB: usize = 1024;
    for (at, len) in [(64, 4), (128, 4), (192, 64), (256, 64)] {
        if let Some(bytes) = image.get_mut(at * KIB..(at + len) * KIB) {
            hyperv::seal(bytes);
        }
    }
    // The first entry of the log.
    let len = image.get((1024 << 10) + 8..(1024 << 10) + 12);
    let len = len.map_or(0, |l| u32::from_le_bytes([l[0], l[1], l[2], l[3]]) as usize);
    if let Some(bytes) = image.get_mut(1024 << 10..(1024 << 10) + len.min(1 << 20))
        && len > 8
    {
        hyperv::seal(bytes);
    }
}

/// One with an entry in its log that counts.
fn logged() -> Vec<u8> {
    let mut image = made("vhdx", &[("block_size", Value::from(1_u64 << 20))]);
    let guid = [7; 16];
    let entry = hyperv::Entry {
        guid,
        sequence: 1,
        tail: 0,
        length: image.len() as u64,
    };
    let sector = image[hyperv::BAT..hyperv::BAT + 4096].to_vec();
    let at = hyperv::BAT as u64;
    let changes = [
        hyperv::Change::Sector(at, &sector),
        hyperv::Change::Zero(at + 4096, 4096),
    ];
    let bytes = entry.with(&changes);
    hyperv::put_entry(&mut image, 0, &bytes);
    hyperv::name_log(&mut image, guid);
    image
}

/// A differencing disk; its parent is not there.
fn child(format: &str) -> Vec<u8> {
    if format == "vpc" {
        let mut image = made("vpc", &[]);
        hyperv::make_vhd_child(&mut image, "parent", &[1; 16]);
        hyperv::put_vhd_sectors(&mut image, 1, &[0, 7], 9);
        return image;
    }
    let mut image = made("vhdx", &[("block_size", Value::from(1_u64 << 20))]);
    hyperv::make_vhdx_child(&mut image, &[("relative_path", "parent")]);
    hyperv::put_vhdx_sectors(&mut image, 2, &[0, 7], 9);
    image
}

fn disk() -> Vec<u8> {
    foreign::disk(&mut Rng::new(1), 1 << 18)
}

fn dmg_image() -> Vec<u8> {
    let disk = disk();
    let mut dmg = foreign::Dmg::default();
    for (n, piece) in disk.chunks(65536).enumerate() {
        let stored = [
            foreign::Stored::Zlib,
            foreign::Stored::Bzip2,
            foreign::Stored::Lzma,
            foreign::Stored::Plain,
        ][n % 4];
        dmg.chunk(stored, piece);
    }
    dmg.with_fork()
}

fn base(name: &str) -> Base {
    let little = |format, image: Vec<u8>, ranges: &[(usize, usize)]| Base {
        format,
        places: places(&image, ranges),
        image,
        seal: unsealed,
    };
    match name {
        "vdi" => little("vdi", made("vdi", &[]), &[(0, 520)]),
        "vmdk" => little("vmdk", made("vmdk", &[]), &[(0, 80), (10_752, 10_800)]),
        "parallels" => little("parallels", made("parallels", &[]), &[(0, 80)]),
        "qcow" => little("qcow", made("qcow", &[]), &[(0, 64)]),
        "qed" => little("qed", made("qed", &[]), &[(0, 64), (65536, 65552)]),
        "cloop" => little("cloop", foreign::cloop(&disk(), 4096), &[(128, 160)]),
        "bochs" => little("bochs", foreign::bochs(&disk(), 4096, 2), &[(64, 100)]),
        "dmg" => little("dmg", dmg_image(), &[]),
        "vpc" | "vpc-child" => {
            let image = if name == "vpc" {
                made("vpc", &[])
            } else {
                child("vpc")
            };
            Base {
                seal: seal_vhd,
                ..little(
                    "vpc",
                    image,
                    &[(0, 84), (512, 600), (1088, 1152), (1536, 1544)],
                )
            }
        }
        _ => {
            let image = match name {
                "vhdx" => made("vhdx", &[("block_size", Value::from(1_u64 << 20))]),
                "vhdx-log" => logged(),
                _ => child("vhdx"),
            };
            let (log, bat) = (1 << 20, hyperv::BAT);
            let ranges = [
                (65600, 65616),
                (131_136, 131_152),
                (log, log + 160),
                (bat, bat + 32),
                (bat + 32768, bat + 32776),
            ];
            Base {
                seal: seal_vhdx,
                ..little("vhdx", image, &ranges)
            }
        }
    }
}

/// Reads, writes, checks and repairs an image.
fn exercise(base: &Base, image: Vec<u8>) {
    let driver = driver(base.format);
    block(async {
        let file = MemoryFile::new(image);
        if let Ok(root) = open(driver, &file, false).await {
            read(&root).await;
        }
        if driver.create.is_none() {
            return;
        }
        let Ok(root) = open(driver, &file, true).await else {
            return;
        };
        let length = root.length().unwrap_or(0);
        for at in [0, 70_000, 1 << 20, length / 2] {
            if at + 9000 <= length {
                let _ = root.write(at, &[9; 9000], WriteFlags::default()).await;
            }
        }
        if length >= 1 << 20 {
            let _ = root.write_zeroes(0, 1 << 20, ZeroFlags::default()).await;
        }
        let _ = root.flush().await;
        read(&root).await;
        check(&root).await;
        let _ = root.close().await;
    });
}

async fn read(root: &Root) {
    let length = root.length().unwrap_or(0);
    let mut buf = vec![0; 256 << 10];
    let end = length.min(LONG);
    for at in (0..end)
        .step_by(1 << 20)
        .chain([length.saturating_sub(600)])
    {
        let len = usize::try_from(length - at).unwrap_or(usize::MAX);
        let len = len.min(buf.len());
        let _ = root.read(at, &mut buf[..len]).await;
        if len > 0 {
            let _ = root.status(at, len as u64).await;
        }
    }
}

async fn check(root: &Root) {
    let node = root.node();
    let Some(check) = node.format().and_then(|f| f.check()) else {
        return;
    };
    for all in [false, true] {
        let fix = Fix {
            leaks: all,
            errors: all,
        };
        let detail = &mut |_: &str| {};
        let _ = check.check(CheckRequest { fix, detail }).await;
    }
}

macro_rules! targets {
    ($($function:ident: $name:literal,)*) => {
        $(
            #[doc = concat!("Target `", $name, "`.")]
            pub fn $function(data: &[u8]) {
                static BASE: OnceLock<Base> = OnceLock::new();
                let base = BASE.get_or_init(|| base($name));
                let mut image = base.image.clone();
                words(&mut image, &base.places, data);
                (base.seal)(&mut image);
                exercise(base, image);
            }
        )*
    };
}

targets! {
    vdi: "vdi",
    vhdx: "vhdx",
    vhdx_log: "vhdx-log",
    vhdx_child: "vhdx-child",
    vpc: "vpc",
    vpc_child: "vpc-child",
    vmdk: "vmdk",
    parallels: "parallels",
    qcow: "qcow",
    qed: "qed",
    cloop: "cloop",
    bochs: "bochs",
    dmg: "dmg",
}
