//! Every format into every format: ours reads what the reference made and writes what the reference reads, for
//! disks of several kinds.

use std::path::Path;

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
];

const MIB: u64 = 1 << 20;

struct World {
    scratch: Scratch,
    ours: Tool,
    reference: Tool,
}

impl World {
    fn dir(&self) -> &Path {
        self.scratch.dir()
    }

    fn run(&self, tool: &Tool, words: &[&str]) -> Output {
        tool.run(self.dir(), words)
    }

    /// A conversion by one of the tools.
    fn convert(&self, tool: &Tool, from: (&str, &str), to: (&str, (&str, &str))) {
        let (name, (format, options)) = to;
        let mut words = vec!["convert", "-f", from.1, "-O", format];
        if !options.is_empty() {
            words.extend(["-o", options]);
        }
        words.extend([from.0, name]);
        self.run(tool, &words).ok();
    }

    /// The reference finds our image sound and of the same content; both tools tell the same of it.
    fn look(&self, name: &str, format: &str, story: &str) {
        let words = ["compare", "-f", "raw", "-F", format, "disk.raw", name];
        let compare = self.run(&self.reference, &words);
        assert_eq!(compare.code, Some(0), "{story}\n{}", compare.report());
        let check = self.run(&self.reference, &["check", "-q", "-f", format, name]);
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
}

/// Every source format by the reference, every target format of it by ours.
fn all(kind: &str, disk: &dyn Fn(&Path)) {
    let world = require!(world());
    disk(&world.dir().join("disk.raw"));
    for (from, options) in FORMATS {
        let source = ("disk.raw", "raw");
        world.convert(&world.reference, source, ("source", (from, options)));
        for to in FORMATS {
            let story = format!("{kind}: {from} {options} -> {} {}", to.0, to.1);
            world.convert(&world.ours, ("source", from), ("target", *to));
            world.look("target", to.0, &story);
        }
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
    all("empty", &|path| file(path, 4 * MIB, &[]));
}

#[test]
fn small_disks() {
    all("small", &|path| {
        file(path, 65536, &[(0, noise(&mut Rng::new(1), 65536))]);
    });
}

#[test]
fn fragmented_disks() {
    all("fragmented", &|path| {
        let mut rng = Rng::new(2);
        let places = (0..96).map(|n| n * 65536 + rng.below(64) * 512);
        let places: Vec<_> = places.collect();
        let pieces = places.into_iter().map(|at| (at, noise(&mut rng, 1536)));
        file(path, 8 * MIB, &pieces.collect::<Vec<_>>());
    });
}

#[test]
fn large_sparse_disks() {
    all("large and sparse", &|path| {
        let mut rng = Rng::new(3);
        let at = [0, 300 * MIB + 512, 1100 * MIB - 4096];
        let pieces = at.map(|at| (at, noise(&mut rng, 4096)));
        file(path, 1100 * MIB, &pieces);
    });
}

#[test]
fn odd_disks() {
    all("odd", &|path| {
        file(
            path,
            1_234_567,
            &[(1_000_000, noise(&mut Rng::new(4), 234_567))],
        );
    });
}
