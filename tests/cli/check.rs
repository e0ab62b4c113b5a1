//! `check` and its repairs on damaged images, beside the reference: the same words, counts and exit codes.

use house_tests::bytes::{peek_u64, poke_u64};
use house_tests::{Pair, Rng, Scratch, ours, qemu_io, reference, require};

const IMAGE: &str = "t.qcow2";
const CASES: u64 = 60;

/// An image with data, zeroes, packed clusters and a snapshot.
fn create(pair: &mut Pair, rng: &mut Rng) {
    pair.run(&["create", "-q", "-f", "qcow2", IMAGE, "4M"]);
    let writes = [
        "write -P 1 64k 300k",
        "write -z 1M 128k",
        "write -c -P 2 2M 64k",
    ];
    pair.write(IMAGE, "qcow2", &writes.map(str::to_owned));
    if rng.one_in(2) {
        pair.run(&["snapshot", "-c", "one", IMAGE]);
        pair.write(IMAGE, "qcow2", &["write -P 3 0 200k".to_owned()]);
    }
}

/// Where a table's entry lies: of L1, L2, the refcount table or the first refcount block.
fn place(path: &std::path::Path, rng: &mut Rng) -> u64 {
    let mask = 0x00ff_ffff_ffff_fe00;
    let l1 = peek_u64(path, 40);
    let table = peek_u64(path, 48);
    match rng.below(4) {
        0 => l1,
        1 => (peek_u64(path, l1) & mask) + 8 * rng.below(40),
        2 => table + 8 * rng.below(2),
        _ => (peek_u64(path, table) & mask) + 8 * rng.below(6),
    }
}

fn damage(value: u64, rng: &mut Rng) -> u64 {
    match rng.below(5) {
        0 => 0,
        1 => value ^ (1 << 63),
        2 => value ^ (1 << rng.below(64)),
        3 => (rng.below(24) << 16) | (1 << 63),
        _ => value ^ (rng.between(1, 127) << 9),
    }
}

#[test]
fn damaged_images_are_judged_and_repaired_alike() {
    require!(reference());
    require!(qemu_io());
    for seed in 0..CASES {
        let mut rng = Rng::new(seed);
        let mut pair = require!(Pair::new(&format!("check, seed {seed}")));
        create(&mut pair, &mut rng);
        // Both tools get the reference's image: where things lie is then the same.
        let good = std::fs::read(pair.reference_dir().join(IMAGE)).expect("it was made");
        pair.put(IMAGE, &good);
        let path = pair.reference_dir().join(IMAGE);
        let at = place(&path, &mut rng);
        let new = damage(peek_u64(&path, at), &mut rng);
        for dir in [pair.our_dir(), pair.reference_dir()] {
            poke_u64(&dir.join(IMAGE), at, new);
        }
        for words in [&["check", IMAGE][..], &["check", "--output=json", IMAGE]] {
            pair.run(words);
        }
        let table = peek_u64(&path, 48);
        if (table..table + 16).contains(&at) {
            // The reference gives up when it has to read the broken table while it writes a new one.
            let dir = pair.our_dir();
            ours().run(&dir, &["check", "-q", "-r", "all", IMAGE]).ok();
            let real = require!(reference());
            real.run(&dir, &["check", "-q", IMAGE]).ok();
            continue;
        }
        for words in [
            &["check", "-r", "leaks", IMAGE][..],
            &["check", "-r", "all", IMAGE],
            &["check", IMAGE],
        ] {
            pair.run(words);
        }
    }
}

#[test]
fn a_million_clusters_are_checked_in_little_memory() {
    let reference = require!(reference());
    let dir = Scratch::new();
    for (cluster, size) in [("512", "512M"), ("64k", "64G")] {
        let options = format!("preallocation=metadata,cluster_size={cluster}");
        // The reference takes minutes for this where the disk is busy.
        let args = ["create", "-q", "-f", "qcow2", "-o", &options, "x.img", size];
        ours().run(dir.dir(), &args).ok();
        let args = ["check", "-f", "qcow2", "x.img"];
        let output = ours().run(dir.dir(), &args).ok();
        assert_eq!(output.stdout, reference.run(dir.dir(), &args).stdout);
        assert!(output.peak < 50 << 20, "{}", output.report());
    }
}

#[test]
fn cache_sizes_are_kept() {
    let reference = require!(reference());
    let dir = Scratch::new();
    let options = "preallocation=metadata,cluster_size=64k";
    let args = [
        "create", "-q", "-f", "qcow2", "-o", options, "x.img", "256G",
    ];
    reference.run(dir.dir(), &args).ok();
    let map = |options: &str| {
        let image = format!("driver=qcow2,file.filename=x.img{options}");
        let args = ["map", "--output=json", "--image-opts", &image];
        ours().run(dir.dir(), &args).ok()
    };
    let (free, bounded) = (map(""), map(",l2-cache-size=1M"));
    assert_eq!(free.stdout, bounded.stdout);
    assert!(
        bounded.peak + (16 << 20) < free.peak,
        "{}\n{}",
        free.report(),
        bounded.report()
    );
    map(",cache-size=2M,refcount-cache-size=256k,l2-cache-entry-size=4k");
}
