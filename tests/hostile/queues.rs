//! Row 23: an allocator that many queues use at once, and crashes.

use house_tests::tools::our_io;
use house_tests::{Rng, require};

use crate::images::Lab;

const QUEUES: u64 = 8;
const SECTOR: u64 = 512;
/// Bytes of the disk.
const SIZE: u64 = 2 << 20;
/// Sectors that a queue has for itself.
const PART: u64 = SIZE / SECTOR / QUEUES;

/// What each sector holds, and what it may hold once somebody was interrupted.
struct Flat {
    rng: Rng,
    safe: Vec<u8>,
    maybe: Vec<Vec<u8>>,
}

impl Flat {
    fn new(seed: u64) -> Self {
        let sectors = usize::try_from(SIZE / SECTOR).expect("a small number");
        Self {
            rng: Rng::new(seed),
            safe: vec![0; sectors],
            maybe: vec![Vec::new(); sectors],
        }
    }

    /// Adds a request of each queue to the commands: to write, or to make zero.
    fn all_queues(&mut self, commands: &mut Vec<String>) {
        for queue in 0..QUEUES {
            let skip = self.rng.below(PART);
            let first = queue * PART + skip;
            let count = self.rng.between(1, (PART - skip).min(150));
            let value = u8::try_from(self.rng.below(256)).expect("below 256");
            let what = match value {
                0 => "-z -u".to_owned(),
                value => format!("-P {value}"),
            };
            let (offset, len) = (first * SECTOR, count * SECTOR);
            commands.push(format!("aio_write -q {what} {offset} {len}"));
            let range = usize::try_from(first).expect("a small number")
                ..usize::try_from(first + count).expect("a small number");
            for sector in &mut self.maybe[range] {
                sector.push(value);
            }
        }
    }

    /// All that was asked for so far is on the disk.
    fn flushed(&mut self) {
        for (safe, maybe) in self.safe.iter_mut().zip(&mut self.maybe) {
            *safe = maybe.last().copied().unwrap_or(*safe);
            maybe.clear();
        }
    }

    /// A session: some rounds that are flushed, some that are only waited for, and a round that the crash meets.
    fn session(&mut self) -> Vec<String> {
        let mut commands = Vec::new();
        for _ in 0..self.rng.between(1, 4) {
            self.all_queues(&mut commands);
            commands.push("aio_flush".to_owned());
        }
        commands.push("flush".to_owned());
        self.flushed();
        for _ in 0..self.rng.below(3) {
            self.all_queues(&mut commands);
            commands.push("aio_flush".to_owned());
        }
        self.all_queues(&mut commands);
        commands.push("abort".to_owned());
        commands
    }

    /// Compares with the bytes of the disk, which become the truth.
    fn check(&mut self, bytes: &[u8], story: &str) {
        assert_eq!(bytes.len() as u64, SIZE);
        let sectors = bytes.chunks_exact(usize::try_from(SECTOR).expect("a small number"));
        for (number, read) in sectors.enumerate() {
            let value = read[0];
            let may = value == self.safe[number] || self.maybe[number].contains(&value);
            assert!(
                may && read.iter().all(|byte| *byte == value),
                "sector {number} holds {value}, not {} or {:?}: {story}",
                self.safe[number],
                self.maybe[number]
            );
            self.safe[number] = value;
            self.maybe[number].clear();
        }
    }
}

/// Crashes again and again on an image made with these options.
fn live_through_crashes(lab: &Lab, options: &str, seed: u64) {
    let dir = lab.scratch.dir();
    let size = SIZE.to_string();
    let image = lab.image("x.qcow2", &["-o", options, &size], &[]);
    let mut flat = Flat::new(seed);
    for crash in 0..6 {
        let commands = flat.session();
        // Threads make the requests, so that they really run side by side.
        let mut args = vec!["-f", "qcow2", "-i", "threads"];
        args.extend(commands.iter().flat_map(|line| ["-c", line]));
        args.push("x.qcow2");
        let output = our_io().run(dir, &args);
        let story = format!("{options}, seed {seed}, crash {crash}: {}", output.report());
        assert_eq!(output.code, None, "it aborts: {story}");
        // Nothing is worse than a leak, and those are all that a repair finds.
        let found = lab.reference.run(dir, &["check", "-q", "x.qcow2"]);
        assert!(
            matches!(found.code, Some(0 | 3)),
            "{story}\n{}",
            found.report()
        );
        house_tests::ours()
            .run(dir, &["check", "-q", "-r", "leaks", "x.qcow2"])
            .ok();
        lab.reference.run(dir, &["check", "-q", "x.qcow2"]).ok();
        let raw = ["convert", "-O", "raw", "x.qcow2", "x.raw"];
        lab.reference.run(dir, &raw).ok();
        let bytes = std::fs::read(lab.scratch.path("x.raw")).expect("the image can be read");
        flat.check(&bytes, &story);
    }
    std::fs::remove_file(image).expect("the image can be removed");
}

#[test]
fn row_23_cloud_hypervisor_8606_many_queues_and_crashes_lose_nothing() {
    let lab = require!(Lab::new());
    let seed = Rng::seed_from_env(23);
    for options in [
        "cluster_size=512",
        "cluster_size=64k",
        "cluster_size=64k,extended_l2=on",
    ] {
        live_through_crashes(&lab, options, seed);
    }
}
