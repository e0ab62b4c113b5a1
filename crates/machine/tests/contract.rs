//! Every device goes through the contract suite, and through a while of random accesses.

use machine::contract::{
    self, BOARDS, CASES, Case, Rig, Script, comes_back, damage_is_survived, reset_forgets, seed,
};

/// Runs a suite on every case; says which ones fail.
fn each(suite: fn(&Case)) {
    let failed: Vec<&str> = CASES
        .iter()
        .filter(|case| std::panic::catch_unwind(|| suite(case)).is_err())
        .map(|case| case.device)
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn the_list_has_every_device() {
    contract::every_device_has_a_case();
}

#[test]
fn what_is_saved_comes_back() {
    each(comes_back);
}

#[test]
fn a_reset_forgets() {
    each(reset_forgets);
}

#[test]
fn damaged_states_are_survived() {
    each(damage_is_survived);
}

#[test]
fn whatever_a_guest_does_the_devices_answer() {
    for board in BOARDS {
        for number in 0..12 {
            let mut rig = Rig::new(board);
            Script::new(&seed(number, 2000)).run(&mut rig);
        }
    }
}
