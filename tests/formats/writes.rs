//! Writes by our tool into images of every format, read back by the reference, and the other way round.

use house_tests::normal::without_rates;
use house_tests::tools::our_io;
use house_tests::{Pair, Rng, Tool, qemu_io, require, words};

const FORMATS: &[(&str, &str)] = &[
    ("vdi", ""),
    ("vdi", "static=on"),
    ("vpc", ""),
    ("vpc", "subformat=fixed"),
    ("vhdx", ""),
    ("vhdx", "block_size=1M"),
    ("vhdx", "subformat=fixed,block_state_zero=off"),
    ("parallels", "cluster_size=65536"),
    ("vmdk", ""),
    ("vmdk", "zeroed_grain=on"),
    ("vmdk", "subformat=monolithicFlat"),
    ("vmdk", "subformat=twoGbMaxExtentSparse"),
    ("qcow", ""),
    ("qed", "cluster_size=4096,table_size=2"),
];
const SIZE: u64 = 8 << 20;
const ROUNDS: u64 = 4;

fn commands(rng: &mut Rng) -> Vec<String> {
    let mut all = Vec::new();
    for n in 0..30_u64 {
        let at = rng.below(SIZE / 512) * 512;
        let len = (1 + rng.below(600)) * 512;
        let len = len.min(SIZE - at);
        all.push(match rng.below(6) {
            0 => format!("write -z {at} {len}"),
            1 => format!("write -z -u {at} {len}"),
            2 => format!("discard {at} {len}"),
            3 => format!("read {at} {len}"),
            4 => "flush".to_owned(),
            _ => format!("write -P {} {at} {len}", n + 1),
        });
    }
    all
}

fn run(tool: &Tool, dir: &std::path::Path, format: &str, commands: &[String]) -> String {
    let output = tool.run(dir, &words::io(format, commands, "t.img"));
    without_rates(&output.stdout)
}

#[test]
fn the_same_writes_leave_the_same_disk() {
    for (seed, (format, options)) in (0..).zip(FORMATS) {
        for round in 0..ROUNDS {
            let mut rng = Rng::new(Rng::seed_from_env(seed * 100 + round));
            let mut pair = require!(Pair::new(&format!("{format} [{options}] round {round}")));
            pair.run(&words::create(format, options, "t.img", "8M"));
            // A discarded range may read as anything: the disks are compared without one.
            let mut commands = commands(&mut rng);
            commands.retain(|c| !c.starts_with("discard"));
            for half in commands.chunks(15) {
                let ours = run(&our_io(), &pair.our_dir(), format, half);
                let theirs = run(&require!(qemu_io()), &pair.reference_dir(), format, half);
                assert_eq!(ours, theirs, "{}\n{half:?}", pair.log());
            }
            pair.same_content("t.img", format);
            if !matches!(*format, "vpc" | "qcow") {
                pair.clean("t.img", format);
            }
            // Theirs goes on where ours was, ours where theirs was.
            let more = commands[..10].to_vec();
            let theirs = run(&require!(qemu_io()), &pair.our_dir(), format, &more);
            let ours = run(&our_io(), &pair.reference_dir(), format, &more);
            assert_eq!(ours, theirs, "{}", pair.log());
            pair.same_content("t.img", format);
        }
    }
}

#[test]
fn discards_harm_nothing_else() {
    for (seed, (format, options)) in (0..).zip(FORMATS) {
        let mut rng = Rng::new(Rng::seed_from_env(seed));
        let mut pair = require!(Pair::new(&format!("{format} [{options}] discards")));
        pair.run(&words::create(format, options, "t.img", "8M"));
        run(&our_io(), &pair.our_dir(), format, &commands(&mut rng));
        if !matches!(*format, "vpc" | "qcow") {
            pair.clean("t.img", format);
        }
    }
}
