//! Random work on a qcow2 image, with kills at random points, against a flat model of its bytes.
//!
//! A run is its seed: `HOUSE_SEED=n cargo test -p house-tests --test model`. `HOUSE_SOAK_SECONDS` makes it long.
#![forbid(unsafe_code)]

mod flat;
mod world;

use std::time::{Duration, Instant};

use house_tests::tools::ours_runs;
use house_tests::{Rng, reference, require};

use world::World;

/// Operations of one run in CI, over all worlds.
const OPERATIONS: usize = 10_000;

/// Runs worlds from a seed on until there were enough operations, or the time is over.
fn run(first: u64, operations: usize, until: Option<Instant>) {
    let (mut done, mut seed) = (0, first);
    while done < operations || until.is_some_and(|end| Instant::now() < end) {
        println!("HOUSE_SEED={seed}");
        done += World::new(seed).live();
        seed += 1;
    }
    println!("{done} operations in {} worlds", seed - first);
}

#[test]
fn soak() {
    require!(reference());
    require!(ours_runs());
    let seconds = std::env::var("HOUSE_SOAK_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok());
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    if std::env::var_os("HOUSE_SEED").is_some() && until.is_none() {
        World::new(Rng::seed_from_env(0)).live();
        return;
    }
    run(Rng::seed_from_env(1), OPERATIONS, until);
}
