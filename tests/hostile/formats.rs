//! Rows 2 to 5 for formats that are written too: numbers and names in the headers and tables of vdi, vhdx, vpc, vmdk,
//! parallels, qcow and qed.

use std::fs;

use house_tests::bytes::poke;
use house_tests::hyperv;
use house_tests::watch::Watch;
use house_tests::{Output, Scratch, require};

use crate::images::Lab;

/// Order of the bytes of numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

/// Fields of one format to put wrong numbers into.
struct Sweep {
    format: &'static str,
    options: &'static str,
    order: Order,
    /// Offset and length of each.
    fields: &'static [(usize, usize)],
    /// Makes sums right again, so that what is behind them is reached.
    seal: fn(&mut [u8]),
}

fn unsealed(_image: &mut [u8]) {}

/// Values that arithmetic goes wrong on.
fn values(len: usize) -> Vec<u64> {
    let bits = len * 8;
    let max = u64::MAX >> (64 - bits);
    let mut values = vec![0, 1, 511, max, max - 1, max >> 1, (max >> 1) + 1];
    for power in [9, 20, 31, 32, 54] {
        if power < bits {
            values.extend([1 << power, (1 << power) + 1]);
        }
    }
    values
}

/// The virtual size that `info` told.
fn length(output: &Output) -> u64 {
    let mut lines = output.stdout.lines();
    let line = lines.find(|l| l.starts_with("virtual size"));
    let number = line.and_then(|l| l.split('(').nth(1)?.split(' ').next()?.parse().ok());
    number.unwrap_or(u64::MAX)
}

fn sweep(sweep: &Sweep) {
    let lab = require!(Lab::new());
    let image = lab.scratch.path("x.img");
    let format = sweep.format;
    let mut words = vec!["create", "-q", "-f", format];
    if !sweep.options.is_empty() {
        words.extend(["-o", sweep.options]);
    }
    words.extend(["x.img", "4M"]);
    lab.reference.run(lab.scratch.dir(), &words).ok();
    let words = ["-f", format, "-c", "write -P 3 1M 64k", "x.img"];
    lab.io.run(lab.scratch.dir(), &words).ok();
    let good = fs::read(&image).expect("it was made");
    for (offset, len) in sweep.fields {
        for value in values(*len) {
            let mut bad = good.clone();
            let bytes = match sweep.order {
                Order::Little => value.to_le_bytes()[..*len].to_vec(),
                Order::Big => value.to_be_bytes()[8 - len..].to_vec(),
            };
            bad[*offset..offset + len].copy_from_slice(&bytes);
            (sweep.seal)(&mut bad);
            fs::write(&image, &bad).expect("a scratch file");
            eprintln!("{format}: {len} bytes at {offset} = {value:#x}");
            let info = lab.try_on(&["info", "-f", format, "x.img"]);
            lab.try_on(&["check", "-f", format, "x.img"]);
            if info.code == Some(0) && length(&info) < 64 << 20 {
                let words = ["convert", "-n", "-f", format, "-O", "raw", "x.img"];
                lab.try_on(&[&words[..], &["null-co://"]].concat());
            }
            let write = ["write -P 9 2M 64k", "write -P 9 100k 1k"];
            let words = ["-f", format, "-c", write[0], "-c", write[1], "x.img"];
            let io = house_tests::tools::our_io();
            io.run(lab.scratch.dir(), &words).civil();
            lab.try_on(&["check", "-r", "all", "-f", format, "x.img"]);
        }
    }
}

#[test]
fn cve_2014_0142_vdi_fields() {
    sweep(&Sweep {
        format: "vdi",
        options: "",
        order: Order::Little,
        fields: &[
            (0x44, 4),
            (0x4c, 4),
            (0x154, 4),
            (0x158, 4),
            (0x168, 4),
            (0x170, 8),
            (0x178, 4),
            (0x180, 4),
            (0x184, 4),
            (512 + 4, 4),
        ],
        seal: unsealed,
    });
}

#[test]
fn cve_2014_0142_vpc_fields() {
    sweep(&Sweep {
        format: "vpc",
        options: "",
        order: Order::Big,
        fields: &[
            (16, 8),
            (48, 8),
            (56, 4),
            (60, 4),
            (512 + 16, 8),
            (512 + 28, 4),
            (512 + 32, 4),
            (1536, 4),
        ],
        seal: |image| {
            hyperv::vhd_sum(&mut image[..512], 64);
            hyperv::vhd_sum(&mut image[512..1536], 36);
        },
    });
}

#[test]
fn cve_2014_0144_vhdx_fields() {
    const REGIONS: usize = 192 << 10;
    const METADATA: usize = 3 << 20;
    sweep(&Sweep {
        format: "vhdx",
        options: "block_size=1M",
        order: Order::Little,
        fields: &[
            (65536 + 64, 2),
            (65536 + 68, 4),
            (65536 + 72, 8),
            (REGIONS + 8, 4),
            (REGIONS + 16 + 16, 8),
            (REGIONS + 16 + 24, 4),
            (REGIONS + 48 + 16, 8),
            (REGIONS + 48 + 24, 4),
            (METADATA + 10, 2),
            (METADATA + 32 + 16, 4),
            (METADATA + 65536, 4),
            (METADATA + 65536 + 4, 4),
            (METADATA + 65536 + 8, 8),
            (METADATA + 65536 + 32, 4),
            (METADATA + 65536 + 36, 4),
            (hyperv::BAT, 8),
            (hyperv::BAT + 8, 8),
        ],
        seal: |image| {
            // The header that was changed is to be the one that counts, and its copy is of no use.
            image[65536 + 8..65536 + 16].copy_from_slice(&(1_u64 << 40).to_le_bytes());
            hyperv::seal(&mut image[65536..65536 + 4096]);
            hyperv::seal(&mut image[REGIONS..REGIONS + 65536]);
            image[256 << 10] = 0;
        },
    });
}

#[test]
fn cve_2014_0142_vmdk_fields() {
    sweep(&Sweep {
        format: "vmdk",
        options: "",
        order: Order::Little,
        fields: &[
            (4, 4),
            (8, 4),
            (12, 8),
            (20, 8),
            (28, 8),
            (36, 8),
            (44, 4),
            (48, 8),
            (56, 8),
            (64, 8),
            (77, 2),
            (21 * 512, 4),
            (26 * 512, 4),
        ],
        seal: unsealed,
    });
}

#[test]
fn cve_2014_0142_parallels_fields() {
    sweep(&Sweep {
        format: "parallels",
        options: "",
        order: Order::Little,
        fields: &[
            (16, 4),
            (28, 4),
            (32, 4),
            (36, 8),
            (44, 4),
            (48, 4),
            (56, 8),
            (64, 4),
            (68, 4),
        ],
        seal: unsealed,
    });
}

#[test]
fn cve_2014_0222_qcow_fields() {
    sweep(&Sweep {
        format: "qcow",
        options: "",
        order: Order::Big,
        fields: &[
            (8, 8),
            (16, 4),
            (24, 8),
            (32, 1),
            (33, 1),
            (36, 4),
            (40, 8),
            (48, 8),
        ],
        seal: unsealed,
    });
}

#[test]
fn cve_2014_0143_qed_fields() {
    sweep(&Sweep {
        format: "qed",
        options: "",
        order: Order::Little,
        fields: &[
            (4, 4),
            (8, 4),
            (12, 4),
            (16, 8),
            (24, 8),
            (32, 8),
            (40, 8),
            (48, 8),
            (56, 4),
            (60, 4),
            (65536, 8),
        ],
        seal: unsealed,
    });
}

#[test]
fn cve_2014_0144_written_formats_truncated_anywhere() {
    let lab = require!(Lab::new());
    let image = lab.scratch.path("x.img");
    for format in ["vdi", "vhdx", "vpc", "vmdk", "parallels", "qcow", "qed"] {
        let words = ["create", "-q", "-f", format, "x.img", "4M"];
        lab.reference.run(lab.scratch.dir(), &words).ok();
        let words = ["-f", format, "-c", "write -P 3 1M 64k", "x.img"];
        lab.io.run(lab.scratch.dir(), &words).ok();
        let good = fs::read(&image).expect("it was made");
        for len in (0..good.len()).step_by(good.len() / 24 + 1) {
            fs::write(&image, &good[..len]).expect("a scratch file");
            let words = ["convert", "-f", format, "-O", "raw", "x.img", "o.raw"];
            lab.try_on(&words);
            lab.try_on(&["check", "-r", "all", "-f", format, "x.img"]);
        }
    }
}

/// Files of an exabyte, as far as the file system has them: nothing may take time or memory by their length.
#[test]
fn sparse_files_of_any_length_end_in_time() {
    let lab = require!(Lab::new());
    let image = lab.scratch.path("x.img");
    for format in ["vdi", "vhdx", "vpc", "vmdk", "parallels", "qcow", "qed"] {
        let words = ["create", "-q", "-f", format, "x.img", "4M"];
        lab.reference.run(lab.scratch.dir(), &words).ok();
        let file = fs::OpenOptions::new().write(true).open(&image);
        let file = file.expect("it can be opened");
        let longest = (40..63)
            .rev()
            .find(|power| file.set_len(1 << power).is_ok());
        eprintln!("{format}: 2^{longest:?} bytes");
        lab.try_on(&["info", "-f", format, "x.img"]);
        lab.try_on(&["check", "-f", format, "x.img"]);
        lab.try_on(&["convert", "-f", format, "-O", "raw", "x.img", "o.raw"]);
    }
}

/// Names of files in images of these formats.
#[test]
fn cve_2024_32498_names_in_other_formats() {
    let lab = require!(Lab::new());
    let outside = Scratch::new();
    let secret = outside.path("secret");
    fs::write(&secret, [b'S'; 65536]).expect("a scratch file");
    let watch = Watch::new(&secret);
    let plain = secret.to_str().expect("scratch names are plain");
    let up = format!("../../../../../../../..{plain}");
    let json = format!("json:{{\"driver\":\"file\",\"filename\":\"{plain}\"}}");
    for name in [
        plain,
        &up,
        &json,
        "nbd://127.0.0.1:1/x",
        "fat:/etc",
        "/dev/zero",
    ] {
        for image in [backed(&lab, "qcow", name), backed(&lab, "qed", name)]
            .into_iter()
            .chain(vmdks(&lab, name))
        {
            lab.try_on(&["info", &image]);
            let words = ["convert", "-O", "raw", &image, "stolen"];
            let convert = lab.try_on(&words);
            assert_eq!(convert.code, Some(1), "{name}: {}", convert.report());
            // These do not name a raw file: whether it is an image is seen by its first bytes, and it is not.
            let looked_at = matches!(image.as_str(), "x.qcow" | "child.vmdk");
            let opened = watch.opened();
            assert!(!opened || looked_at, "{name} in {image} was followed");
        }
    }
}

/// An image whose header names a backing file.
fn backed(lab: &Lab, format: &str, name: &str) -> String {
    let image = format!("x.{format}");
    let long = "n".repeat(name.len());
    let words = ["create", "-q", "-u", "-f", format, "-b", &long];
    let raw = ["-F", "raw", &image, "1M"];
    let words = [&words[..], &raw].concat();
    lab.reference.run(lab.scratch.dir(), &words).ok();
    let path = lab.scratch.path(&image);
    let bytes = fs::read(&path).expect("it was made");
    let at = bytes.windows(long.len()).position(|w| w == long.as_bytes());
    let at = at.expect("the name is in the header");
    poke(&path, at as u64, name.as_bytes());
    image
}

/// Descriptors that name an extent, or a parent.
fn vmdks(lab: &Lab, name: &str) -> Vec<String> {
    fs::write(lab.scratch.path("own.raw"), [0; 65536]).expect("a scratch file");
    let head = |parent: &str, kind: &str| {
        format!(
            "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID={parent}\ncreateType=\"{kind}\"\n"
        )
    };
    let flat = format!(
        "{}RW 128 FLAT \"{name}\" 0\n",
        head("ffffffff", "monolithicFlat")
    );
    let sparse = format!(
        "{}RW 128 SPARSE \"{name}\"\n",
        head("ffffffff", "twoGbMaxExtentSparse")
    );
    let child = format!(
        "{}parentFileNameHint=\"{name}\"\nRW 128 FLAT \"own.raw\" 0\n",
        head("87654321", "monolithicFlat")
    );
    let texts = [
        ("flat.vmdk", flat),
        ("sparse.vmdk", sparse),
        ("child.vmdk", child),
    ];
    let write = |(file, text): (&str, String)| {
        fs::write(lab.scratch.path(file), text).expect("a scratch file");
        file.to_owned()
    };
    texts.map(write).into()
}
