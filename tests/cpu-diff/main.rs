//! Random instructions on the host's processor and on ours: registers, flags, memory and faults are compared.
//!
//! A run is its seed: `HOUSE_SEED=n cargo test -p house-tests --test cpu-diff GROUP` runs one batch again.
#![forbid(unsafe_code)]

mod cases;
mod compare;
mod groups;
mod layout;
mod native;
mod record;
mod runner;
mod soft;
mod values;

use std::collections::BTreeMap;

use house_tests::{Rng, skip};
use x86_cpu::cpuid::{Feature, Features, Leaf};

use cases::Case;
use compare::Exactness;
use groups::Group;
use layout::{BATCH, RECORD};
use native::Native;
use record::Bits;

/// How one test runs.
struct Plan {
    group: Group,
    bits: Bits,
    /// Instructions of a case.
    length: usize,
    cases: usize,
}

/// Cases with differences that are shown of each instruction.
const SHOWN: usize = 2;

fn check(plan: &Plan) {
    if !std::arch::is_x86_feature_detected!("avx2") {
        skip!("the host has no AVX2");
    }
    let mut native = Native::start().expect("the runner starts");
    let mut features = Features::default();
    for bit in [9, 10] {
        // VAES and VPCLMULQDQ.
        features.set(Feature(Leaf::L7Ecx, bit), true);
    }
    let codes = plan.group.codes(plan.bits, plan.length > 1);
    let first = Rng::seed_from_env(1);
    let replay = std::env::var_os("HOUSE_SEED").is_some();
    let batches = if replay {
        1
    } else {
        plan.cases.div_ceil(BATCH)
    };
    let mut tally = Tally::default();
    for batch in 0..batches {
        let seed = first + batch as u64;
        let mut rng = Rng::new(seed);
        let cases: Vec<Case> =
            std::iter::from_fn(|| Some(cases::random(&mut rng, &codes, plan.bits, plan.length)))
                .flatten()
                .take(BATCH)
                .collect();
        let mut records: Vec<u8> = cases
            .iter()
            .flat_map(|c| c.record.iter().copied())
            .collect();
        native.begin(&records).expect("the runner takes records");
        let ours: Vec<_> = cases
            .iter()
            .map(|c| soft::run(&features, &c.record))
            .collect();
        native.finish(&mut records).expect("the runner answers");
        let exactness = if plan.group == Group::Transcendental {
            Exactness::LastPlace
        } else {
            Exactness::Bits
        };
        let results = records.chunks_exact(RECORD).zip(&cases).zip(&ours);
        for (number, ((record, case), ours)) in results.enumerate() {
            let lines = compare::differences(record, ours, case, exactness);
            tally.add(seed, number, case, &lines);
        }
    }
    tally.finish(plan, codes.len());
}

/// What was found.
#[derive(Default)]
struct Tally {
    cases: usize,
    bad: BTreeMap<String, usize>,
}

impl Tally {
    fn add(&mut self, seed: u64, number: usize, case: &Case, lines: &[String]) {
        self.cases += 1;
        if lines.is_empty() {
            return;
        }
        let name = format!("{:?}", case.codes);
        if !is_amd() && intels_own(&name, lines) {
            return;
        }
        let count = self.bad.entry(name.clone()).or_default();
        *count += 1;
        if *count <= SHOWN {
            let code = &case.record[layout::CODE..layout::CODE + 96];
            let end = code.iter().rposition(|&b| b != 0xcc).map_or(0, |i| i + 1);
            println!(
                "HOUSE_SEED={seed} case {number}: {name} {:02x?}",
                &code[..end]
            );
            for line in lines.iter().take(8) {
                println!("    {line}");
            }
        }
    }

    fn finish(&self, plan: &Plan, codes: usize) {
        let Plan {
            group,
            bits,
            length,
            ..
        } = plan;
        let bad: usize = self.bad.values().sum();
        println!(
            "{group:?} {bits:?}: {} cases of {length} from {codes} instructions, {bad} differ in {} kinds",
            self.cases,
            self.bad.len()
        );
        for (name, count) in &self.bad {
            println!("{count:8} {name}");
        }
        let allowed = if is_amd() { 0 } else { self.cases / 200 };
        assert!(bad <= allowed, "cases differ");
    }
}

/// Whether a difference is one between Intel's processors and AMD's, which ours follows: 0F 0D with a register is no
/// operation or undefined, double shifts of 16 bits by more than 16 leave what they like, and operands of SHA in memory
/// must be aligned or need not be.
fn intels_own(name: &str, lines: &[String]) -> bool {
    const OWN: [&str; 3] = ["_0F0D", "Shld_rm16", "Shrd_rm16"];
    let sha = name.contains("Sha1") || name.contains("Sha256");
    let refused = lines
        .first()
        .is_some_and(|line| line.starts_with("vector: host 0xd,"));
    OWN.iter().any(|own| name.contains(own)) || sha && refused
}

/// Whether the host does in all corners what our processor does.
fn is_amd() -> bool {
    std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains("AuthenticAMD"))
}

macro_rules! tests {
    ($($name:ident: $group:ident, $bits:ident, $length:literal, $cases:literal;)*) => {
        $(
            #[test]
            fn $name() {
                check(&Plan {
                    group: Group::$group,
                    bits: Bits::$bits,
                    length: $length,
                    cases: $cases,
                });
            }
        )*
    };
}

tests! {
    integer: Integer, B64, 1, 400_000;
    integer_32: Integer, B32, 1, 300_000;
    bits: Bits, B64, 1, 100_000;
    x87: X87, B64, 1, 200_000;
    x87_32: X87, B32, 1, 60_000;
    transcendental: Transcendental, B64, 1, 60_000;
    mmx: Mmx, B64, 1, 100_000;
    sse: Sse, B64, 1, 300_000;
    sse_32: Sse, B32, 1, 60_000;
    avx: Avx, B64, 1, 300_000;
    avx_32: Avx, B32, 1, 60_000;
    fma: Fma, B64, 1, 100_000;
    crypto: Crypto, B64, 1, 40_000;
    save: Save, B64, 1, 40_000;
    save_32: Save, B32, 1, 20_000;
    sequences_integer: Integer, B64, 6, 60_000;
    sequences: Sse, B64, 6, 60_000;
    sequences_x87: X87, B64, 6, 60_000;
}
