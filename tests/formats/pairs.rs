//! Every format into every format, in both directions: ours reads what the reference made and writes what the reference
//! reads, and the reference reads what ours made, for disks of several kinds.

use std::path::Path;

use house_tests::foreign::{Dmg, Stored, bochs, cloop};
use house_tests::{Output, Rng, Scratch, Tool, ours, reference, require};

/// Formats, and the options that make them another kind of image.
const FORMATS: &[(&str, &str)] = &[
    ("raw", ""),
    ("qcow2", ""),
    ("qcow", ""),
    ("qed", ""),
    ("vdi", ""),
    ("vhdx", ""),
    ("vpc", ""),
    ("vmdk", ""),
    ("vmdk", "subformat=streamOptimized"),
    ("parallels", ""),
    ("luks", "key-secret=s,iter-time=10"),
    (
        "qcow2",
        "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10",
    ),
];

const SECRET: [&str; 2] = ["--object", "secret,id=s,data=letmein"];

const MIB: u64 = 1 << 20;

struct World {
    scratch: Scratch,
    ours: Tool,
    reference: Tool,
}

/// What opens an image.
fn node(name: &str, format: &str, options: &str) -> String {
    let secret = match (format, options.contains("encrypt.")) {
        ("luks", _) => ",key-secret=s",
        (_, true) => ",encrypt.key-secret=s",
        _ => "",
    };
    format!("driver={format}{secret},file.filename={name}")
}

impl World {
    fn dir(&self) -> &Path {
        self.scratch.dir()
    }

    fn run(&self, tool: &Tool, words: &[&str]) -> Output {
        tool.run(self.dir(), &[words, &SECRET].concat())
    }

    /// A conversion by one of the tools.
    fn convert(&self, tool: &Tool, from: &str, (name, format, options): (&str, &str, &str)) {
        let mut words = vec!["convert", "--image-opts", "-O", format];
        if !options.is_empty() {
            words.extend(["-o", options]);
        }
        words.extend([from, name]);
        self.run(tool, &words).ok();
    }

    /// This image holds the disk, says a tool.
    fn same(&self, tool: &Tool, image: &str, story: &str) {
        let disk = node("disk.raw", "raw", "");
        let compare = self.run(tool, &["compare", "--image-opts", &disk, image]);
        assert_eq!(compare.code, Some(0), "{story}\n{}", compare.report());
    }

    /// The reference finds our image sound and of the same content; both tools tell the same of it.
    fn look(&self, (name, format, options): (&str, &str, &str), story: &str) {
        let image = node(name, format, options);
        self.same(&self.reference, &image, story);
        let check = self.run(&self.reference, &["check", "-q", "--image-opts", &image]);
        assert!(
            matches!(check.code, Some(0 | 63)),
            "{story}\n{}",
            check.report()
        );
        let words = ["info", "--output=json", "-f", format, name];
        let [ours, theirs] =
            [&self.ours, &self.reference].map(|tool| self.run(tool, &words).ok().json());
        assert_eq!(ours, theirs, "{story}");
    }

    /// Ours makes every format of what the reference made.
    fn theirs_by_ours(&self, kind: &Kind) {
        for (from, options) in kind.formats() {
            let raw = node("disk.raw", "raw", "");
            self.convert(&self.reference, &raw, ("source", from, options));
            let source = node("source", from, options);
            for (to, how) in kind.targets_of(from) {
                let story = format!("{}: {from} {options} -> {to} {how}", kind.name);
                self.convert(&self.ours, &source, ("target", to, how));
                self.look(("target", to, how), &story);
            }
        }
    }

    /// The reference makes every format of what ours made, and ours reads that.
    fn ours_by_theirs(&self, kind: &Kind) {
        for (from, options) in kind.formats() {
            let raw = node("disk.raw", "raw", "");
            self.convert(&self.ours, &raw, ("source", from, options));
            let source = node("source", from, options);
            for (to, how) in kind.targets_of(from) {
                let story = format!("{}: our {from} {options} -> {to} {how}", kind.name);
                self.convert(&self.reference, &source, ("target", to, how));
                let target = node("target", to, how);
                self.same(&self.reference, &target, &story);
                self.same(&self.ours, &target, &story);
            }
        }
    }

    /// Ours makes every format of those that can only be read.
    fn foreign_by_ours(&self, kind: &Kind) {
        let mut disk = std::fs::read(self.scratch.path("disk.raw")).expect("it was made");
        disk.resize(disk.len().next_multiple_of(512), 0);
        let mut dmg = Dmg::default();
        for piece in disk.chunks(256 << 10) {
            dmg.chunk(Stored::Zlib, piece);
        }
        for (from, bytes) in [
            ("cloop", cloop(&disk, 512)),
            ("bochs", bochs(&disk, 65536, 2)),
            ("dmg", dmg.with_plist()),
        ] {
            std::fs::write(self.scratch.path("source"), bytes).expect("a scratch file");
            for (to, how) in kind.targets_of(from) {
                let story = format!("{}: {from} -> {to} {how}", kind.name);
                self.convert(&self.ours, &node("source", from, ""), ("target", to, how));
                self.look(("target", to, how), &story);
            }
        }
    }
}

/// A kind of disk.
struct Kind {
    name: &'static str,
    /// Images that hold every byte of it can be made.
    small: bool,
}

impl Kind {
    fn formats(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let small = self.small;
        let all = FORMATS.iter().copied();
        all.filter(move |(format, _)| small || *format != "luks")
    }

    /// What a format is made into. What a passphrase may cost is measured for each image that has one, for seconds: they
    /// are made of plain disks only.
    fn targets_of(&self, from: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
        let plain = from == "raw";
        let all = self.formats();
        all.filter(move |(_, how)| plain || !how.contains("secret"))
    }
}

fn all(name: &'static str, small: bool, disk: &dyn Fn(&Path)) {
    let world = require!(world());
    disk(&world.dir().join("disk.raw"));
    let kind = Kind { name, small };
    world.theirs_by_ours(&kind);
    world.ours_by_theirs(&kind);
    if small {
        world.foreign_by_ours(&kind);
    }
}

fn world() -> Result<World, String> {
    Ok(World {
        scratch: Scratch::new(),
        ours: ours(),
        reference: reference()?,
    })
}

fn file(path: &Path, length: u64, pieces: &[(u64, Vec<u8>)]) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::create(path).expect("a scratch file");
    file.set_len(length).expect("it can be made longer");
    for (at, bytes) in pieces {
        file.write_all_at(bytes, *at)
            .expect("a scratch file can be written");
    }
}

fn noise(rng: &mut Rng, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rng.fill(&mut bytes);
    bytes
}

#[test]
fn empty_disks() {
    all("empty", true, &|path| file(path, 4 * MIB, &[]));
}

#[test]
fn small_disks() {
    all("small", true, &|path| {
        file(path, 65536, &[(0, noise(&mut Rng::new(1), 65536))]);
    });
}

#[test]
fn fragmented_disks() {
    all("fragmented", true, &|path| {
        let mut rng = Rng::new(2);
        let places = (0..96).map(|n| n * 65536 + rng.below(64) * 512);
        let places: Vec<_> = places.collect();
        let pieces = places.into_iter().map(|at| (at, noise(&mut rng, 1536)));
        file(path, 8 * MIB, &pieces.collect::<Vec<_>>());
    });
}

#[test]
fn large_sparse_disks() {
    all("large and sparse", false, &|path| {
        let mut rng = Rng::new(3);
        let at = [0, 300 * MIB + 512, 1100 * MIB - 4096];
        let pieces = at.map(|at| (at, noise(&mut rng, 4096)));
        file(path, 1100 * MIB, &pieces);
    });
}

#[test]
fn odd_disks() {
    all("odd", true, &|path| {
        file(
            path,
            1_234_567,
            &[(1_000_000, noise(&mut Rng::new(4), 234_567))],
        );
    });
}
