//! One case: what is created, and in which order things happen to it.

use house_tests::pair::DATA_FILE;
use house_tests::{Pair, Rng};

use super::operation::{self, OPERATIONS};

/// The image under test and what later operations must know of it.
pub(super) struct Case {
    pub(super) pair: Pair,
    pub(super) rng: Rng,
    pub(super) format: &'static str,
    /// Virtual size in bytes, as last set.
    pub(super) size: u64,
    pub(super) cluster: u64,
    pub(super) backing: bool,
    /// Clusters can be packed (not with an external data file).
    pub(super) packs: bool,
    /// Names of snapshots taken.
    pub(super) snapshots: Vec<String>,
    /// Numbers for new names.
    pub(super) next_name: u32,
}

/// The image's name.
pub(super) const IMAGE: &str = "t.img";
/// Its backing file's name.
pub(super) const BASE: &str = "b.img";

/// Runs the case of a seed.
pub(super) fn run(seed: u64) {
    let mut rng = Rng::new(seed);
    let format = if rng.one_in(8) { "raw" } else { "qcow2" };
    let pair = Pair::new(&format!("HOUSE_SEED={seed}")).expect("checked by the caller");
    let mut case = Case {
        pair,
        format,
        size: 0,
        cluster: 65536,
        backing: false,
        packs: format == "qcow2",
        snapshots: Vec::new(),
        next_name: 0,
        rng,
    };
    if !case.create() {
        return;
    }
    case.write();
    // Later a packed write may fit one world and not the other: what is allocated is the tool's choice.
    case.packs = false;
    for _ in 0..case.rng.between(1, 4) {
        let (_, operation) = case.rng.pick(OPERATIONS);
        operation(&mut case);
        if case.rng.one_in(2) {
            case.write();
        }
    }
    case.judge();
}

impl Case {
    /// Creates the image, with a backing file at times; false when both tools refuse.
    fn create(&mut self) -> bool {
        self.cluster = *self.rng.pick(&[
            512,
            1024,
            4096,
            16384,
            65536,
            65536,
            65536,
            1 << 20,
            2 << 20,
        ]);
        let clusters = self.rng.between(1, 40);
        self.size = (self.cluster * clusters).min(24 << 20);
        if self.rng.one_in(3) {
            self.size = (self.size - self.rng.below(self.size)).next_multiple_of(512);
        }
        let mut words = vec!["create".to_owned(), "-f".to_owned(), self.format.to_owned()];
        if self.format == "qcow2" && self.rng.one_in(3) {
            self.create_base();
            words.extend(["-b", BASE, "-F", "qcow2"].map(str::to_owned));
            self.backing = true;
        }
        if let Some(options) = self.options() {
            words.extend(["-o".to_owned(), options]);
        }
        words.extend([IMAGE.to_owned(), self.size.to_string()]);
        self.same(&words)
    }

    fn create_base(&mut self) {
        let size = match self.rng.below(3) {
            0 => self.size,
            1 => (self.size / 2).next_multiple_of(512),
            _ => self.size + (1 << 20),
        };
        self.same(&["create", "-q", "-f", "qcow2", BASE, &size.to_string()]);
        let commands = operation::writes(&mut self.rng, size, 65536, true);
        self.pair.write(BASE, "qcow2", &commands);
    }

    /// The `-o` list; some lists are refused, and then both tools must say the same.
    fn options(&mut self) -> Option<String> {
        let mut options = Vec::new();
        let rng = &mut self.rng;
        if self.format == "raw" {
            if rng.one_in(2) {
                let mode = rng.pick(&["off", "falloc", "full", "metadata", "bogus"]);
                options.push(format!("preallocation={mode}"));
            }
            return (!options.is_empty()).then(|| options.join(","));
        }
        if self.cluster != 65536 || rng.one_in(4) {
            options.push(format!("cluster_size={}", self.cluster));
        }
        if rng.one_in(4) {
            options.push(format!("compat={}", rng.pick(&["0.10", "1.1", "v2", "v3"])));
        }
        if rng.one_in(4) {
            let bits = rng.pick(&["1", "2", "4", "8", "16", "32", "64", "3"]);
            options.push(format!("refcount_bits={bits}"));
        }
        if rng.one_in(6) {
            options.push(format!("lazy_refcounts={}", rng.pick(&["on", "off"])));
        }
        if rng.one_in(5) {
            options.push("extended_l2=on".to_owned());
        }
        if rng.one_in(5) {
            options.push(format!("compression_type={}", rng.pick(&["zlib", "zstd"])));
        }
        if rng.one_in(5) {
            let mode = rng.pick(&["off", "metadata", "falloc", "full"]);
            options.push(format!("preallocation={mode}"));
        }
        if rng.one_in(8) {
            options.push(format!("data_file={DATA_FILE}"));
            self.packs = false;
            if rng.one_in(2) {
                options.push("data_file_raw=on".to_owned());
            }
        }
        (!options.is_empty()).then(|| options.join(","))
    }

    /// Random writes by the real `qemu-io`, the same in both folders.
    pub(super) fn write(&mut self) {
        if self.size < 512 {
            return;
        }
        let commands = operation::writes(&mut self.rng, self.size, self.cluster, self.packs);
        self.pair.write(IMAGE, self.format, &commands);
    }

    /// Runs a command in both worlds; true when it worked.
    pub(super) fn same<S: AsRef<str>>(&mut self, words: &[S]) -> bool {
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        self.pair.run(&words).ours.code == Some(0)
    }

    /// A name nobody has yet.
    pub(super) fn name(&mut self, prefix: &str) -> String {
        self.next_name += 1;
        format!("{prefix}{}", self.next_name)
    }

    /// The verdict over the image as it is now.
    fn judge(&mut self) {
        self.pair.same_content(IMAGE, self.format);
        if self.format == "qcow2" {
            self.pair.clean(IMAGE, self.format);
            self.pair.read_both(&["check", "--output=json", IMAGE]);
            self.pair.read_both(&["check", IMAGE]);
        }
        self.pair.read_both(&["info", "--output=json", IMAGE]);
        self.pair.read_both(&["info", IMAGE]);
        self.pair
            .read_both(&["map", "--output=json", "-f", self.format, IMAGE]);
        self.pair.read_both(&["map", IMAGE]);
        let target = *self.rng.pick(&["qcow2", "raw"]);
        self.pair
            .read_both(&["measure", "--output=json", "-O", target, IMAGE]);
        for snapshot in self.snapshots.clone() {
            let source = format!("snapshot.name={snapshot}");
            let line = ["convert", "-l", &source, "-O", "raw", IMAGE, "snap.raw"];
            self.same(&line);
            self.pair.same_content("snap.raw", "raw");
        }
    }
}
