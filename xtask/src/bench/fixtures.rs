//! The images that rows read: made once a run, by the reference tool, from bytes with a fixed seed.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};

use super::measure::{measure, shell};

/// How large they are, in MiB.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    data: u64,
    text: u64,
    tiny: u64,
}

impl Sizes {
    /// What published numbers are made with.
    pub(super) fn full() -> Self {
        Self {
            data: 2048,
            text: 512,
            tiny: 512,
        }
    }

    /// A minute's worth.
    pub(super) fn quick() -> Self {
        Self {
            data: 256,
            text: 64,
            // Less would be done before both tools have started.
            tiny: 128,
        }
    }
}

/// A file by name, the files it is made from, and how. `M` sizes are filled in by `make`.
struct Fixture {
    name: &'static str,
    from: &'static [&'static str],
    make: Make,
}

enum Make {
    /// Random bytes, bytes that pack, and holes, a third each.
    Mixed,
    /// Only bytes that pack (about 0.4 by zlib).
    Packable,
    /// The same, for the image of small clusters.
    Small,
    /// A line of shell; `qemu-img` is the reference.
    Shell(&'static str),
}

const FIXTURES: &[Fixture] = &[
    Fixture {
        name: "script.io",
        from: &[],
        make: Make::Shell(
            "for n in $(seq 10000); do echo read -q $((n * 7919 % 16384 * 4096)) 4k; done > script.io",
        ),
    },
    Fixture {
        name: "data.raw",
        from: &[],
        make: Make::Mixed,
    },
    Fixture {
        name: "text.raw",
        from: &[],
        make: Make::Packable,
    },
    Fixture {
        name: "small.raw",
        from: &[],
        make: Make::Small,
    },
    Fixture {
        name: "data.qcow2",
        from: &["data.raw"],
        make: Make::Shell("qemu-img convert -O qcow2 data.raw data.qcow2"),
    },
    Fixture {
        name: "data.luks",
        from: &["data.raw"],
        make: Make::Shell(
            "qemu-img convert --object secret,id=s,data=letmein -f raw -O luks -o key-secret=s,iter-time=10 data.raw data.luks",
        ),
    },
    Fixture {
        name: "zlib.qcow2",
        from: &["text.raw"],
        make: Make::Shell(
            "qemu-img convert -c -O qcow2 text.raw zlib.qcow2; pigz -c text.raw > zlib.gz",
        ),
    },
    Fixture {
        name: "zstd.qcow2",
        from: &["text.raw"],
        make: Make::Shell(
            "qemu-img convert -c -O qcow2 -o compression_type=zstd text.raw zstd.qcow2; zstd -q -c text.raw > zstd.zst",
        ),
    },
    Fixture {
        name: "chain.qcow2",
        from: &["data.qcow2"],
        make: Make::Shell(
            "qemu-img create -q -f qcow2 -b data.qcow2 -F qcow2 middle.qcow2; \
             qemu-img create -q -f qcow2 -b middle.qcow2 -F qcow2 chain.qcow2; \
             for i in $(seq 1 60); do echo write -P 7 ${i}M 200k; done | qemu-io middle.qcow2 > /dev/null; \
             for i in $(seq 1 2 120); do echo write -P 8 ${i}M 70k; done | qemu-io chain.qcow2 > /dev/null",
        ),
    },
    Fixture {
        name: "overlay.qcow2",
        from: &["data.qcow2"],
        make: Make::Shell(
            "qemu-img create -q -f qcow2 -b data.qcow2 -F qcow2 overlay.qcow2; \
             for i in $(seq 0 199); do echo write -P 9 ${i}M 900k; done | qemu-io overlay.qcow2 > /dev/null",
        ),
    },
    Fixture {
        name: "empty.qcow2",
        from: &["data.qcow2"],
        make: Make::Shell("qemu-img create -q -f qcow2 empty.qcow2 2G"),
    },
    Fixture {
        name: "data.vmdk",
        from: &["data.raw"],
        make: Make::Shell("qemu-img convert -O vmdk data.raw data.vmdk"),
    },
    Fixture {
        name: "stream.vmdk",
        from: &["text.raw"],
        make: Make::Shell(
            "qemu-img convert -O vmdk -o subformat=streamOptimized text.raw stream.vmdk",
        ),
    },
    Fixture {
        name: "data.vdi",
        from: &["data.raw"],
        make: Make::Shell("qemu-img convert -O vdi data.raw data.vdi"),
    },
    Fixture {
        name: "data.vhdx",
        from: &["data.raw"],
        make: Make::Shell("qemu-img convert -O vhdx data.raw data.vhdx"),
    },
    Fixture {
        name: "data.vpc",
        from: &["data.raw"],
        make: Make::Shell("qemu-img convert -O vpc -o force_size=on data.raw data.vpc"),
    },
    Fixture {
        name: "tiny-clusters.qcow2",
        from: &["small.raw"],
        make: Make::Shell(
            "qemu-img convert -S 0 -O qcow2 -o cluster_size=512 small.raw tiny-clusters.qcow2",
        ),
    },
    Fixture {
        name: "huge.qcow2",
        from: &[],
        make: Make::Shell(
            "qemu-img create -q -f qcow2 huge.qcow2 1T; \
             for i in $(seq 0 5 1000); do echo write -P 3 ${i}G 64k; done | qemu-io huge.qcow2 > /dev/null",
        ),
    },
];

/// Makes a file and those it is made from, where they are not there.
pub(super) fn make(name: &str, dir: &Path, sizes: Sizes, reference: &Path) -> Result<()> {
    let path = dir.join(name);
    if path.exists() {
        return Ok(());
    }
    let fixture = FIXTURES
        .iter()
        .find(|f| f.name == name)
        .with_context(|| format!("no fixture is called {name}"))?;
    for from in fixture.from {
        make(from, dir, sizes, reference)?;
    }
    eprintln!("  making {name}");
    match fixture.make {
        Make::Mixed => fill(&path, sizes.data, true),
        Make::Packable => fill(&path, sizes.text, false),
        Make::Small => fill(&path, sizes.tiny, false),
        Make::Shell(line) => shell(line, dir),
    }?;
    if name.ends_with(".qcow2") {
        measure(reference, &["check", "-q", name], dir).context("the reference's own image")?;
    }
    Ok(())
}

fn fill(path: &Path, mib: u64, mixed: bool) -> Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    let mut state = 1_u64;
    let mut word = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 32).to_le_bytes()
    };
    for piece in 0..mib * 4 {
        match (mixed, piece % 3) {
            (true, 0) => {
                out.seek(SeekFrom::Current(256 << 10))?;
            }
            (true, 1) => {
                for _ in 0..64 << 10 {
                    out.write_all(&word()[..4])?;
                }
            }
            _ => {
                // Four random bytes and twelve that return: packs to about 0.4.
                for _ in 0..16 << 10 {
                    out.write_all(&word()[..4])?;
                    out.write_all(b"the same dozen"[..12].as_ref())?;
                }
            }
        }
    }
    out.flush()?;
    out.into_inner()?.set_len(mib << 20)?;
    Ok(())
}

/// Bytes a file takes on disk.
pub(super) fn disk_size(path: &Path) -> Result<u64> {
    let meta = std::fs::metadata(path).with_context(|| path.display().to_string())?;
    Ok(meta.blocks() * 512)
}
