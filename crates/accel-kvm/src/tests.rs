use super::*;
use accel_core::contract;

/// Runs a suite, where there is KVM.
fn keeps(suite: fn(&dyn Accel)) {
    match KvmAccel::new() {
        Ok(accel) => suite(&accel),
        Err(error) => eprintln!("skipped: no KVM here: {error}"),
    }
}

#[test]
fn the_state_can_be_saved_and_brought_back() {
    keeps(|accel| {
        let (_ram, mut cpu) = contract::guest(accel, &[0xf4]);
        contract::state_suite(cpu.as_mut());
    });
}

#[test]
fn real_mode_code_reaches_ports_and_memory() {
    keeps(contract::ports_and_memory);
}

#[test]
fn string_input_asks_once_a_unit() {
    keeps(contract::string_input);
}

#[test]
fn interrupts_come_when_the_guest_lets_them() {
    keeps(contract::interrupts_wait_for_the_guest);
}

#[test]
fn a_kick_leaves_an_endless_loop() {
    keeps(contract::kicks_end_an_endless_loop);
}

#[test]
fn registers_come_back_as_set() {
    keeps(contract::registers_come_back);
}

#[test]
fn slots_can_be_taken_away_and_made_read_only() {
    keeps(contract::slots_come_and_go);
}
