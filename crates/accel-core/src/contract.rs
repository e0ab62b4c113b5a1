//! What every accelerator's processors must do: suites that each runs in its own tests.

mod guest;

use crate::{SavedCpu, Vcpu};

pub use guest::{
    Recorder, guest, interrupts_wait_for_the_guest, kicks_end_an_endless_loop, ports_and_memory,
    registers_come_back, slots_come_and_go, string_input,
};

/// A register of each kind, changed.
fn changed(saved: &SavedCpu) -> SavedCpu {
    let mut out = saved.clone();
    let registers = &mut out.registers;
    for (n, value) in (1..).zip(registers.general.iter_mut()) {
        *value = 0x1111_1111 * n;
    }
    registers.rip = 0x1234;
    registers.rflags = 0xed7;
    registers.cr2 = 0x5678_9000;
    registers.segments[3].selector = 0x40;
    registers.segments[3].base = 0x400;
    let extended = &mut out.extended;
    extended.float.control = 0x27f;
    extended.float.status = 0x3800;
    extended.float.tags = 0x3fff;
    extended.float.registers[7] = (0xc000_0000_0000_0000, 0x4000);
    extended.vectors[1] = [1, 2, 0, 0];
    extended.vectors[15] = [3, 4, 0, 0];
    extended.mxcsr = 0x1fa0;
    extended.breakpoints = [0x1000, 0x2000, 0x3000, 0x4000];
    extended.debug_control = 0x455;
    let set = [
        (0x174, 8),
        (0x175, 0x9000),
        (0xc000_0081, 0x0023_0010_0000_0000),
    ];
    for (number, value) in extended.msrs.iter_mut() {
        if let Some((_, new)) = set.iter().find(|(of, _)| of == number) {
            *value = *new;
        }
    }
    out.activity.nmi_blocked = true;
    out.activity.nmis = 1;
    out
}

/// Saves, restores, resets and initialises `cpu`, a new one.
///
/// # Panics
/// When it does not keep the contract.
pub fn state_suite(cpu: &mut dyn Vcpu) {
    cpu.reset().expect("a processor can be reset");
    let first = cpu.save().expect("saved");
    let other = changed(&first);
    cpu.restore(&other).expect("restored");
    let again = cpu.save().expect("saved");
    assert_eq!(again, other, "what is restored is what is saved");
    // INIT keeps floating point and model-specific registers (Intel SDM volume 3, table 10-1).
    cpu.init().expect("INIT");
    let init = cpu.save().expect("saved");
    assert_eq!(init.registers.rip, 0xfff0);
    assert_eq!(init.extended.float, other.extended.float);
    assert_eq!(init.extended.vectors, other.extended.vectors);
    assert_eq!(init.extended.msrs, other.extended.msrs);
    assert_eq!(init.extended.breakpoints, [0; 4]);
    assert_eq!(init.activity, first.activity);
    // Power-on forgets all.
    cpu.restore(&other).expect("restored");
    cpu.reset().expect("reset");
    assert_eq!(cpu.save().expect("saved"), first, "reset leaves nothing");
    // A start-up message begins where it says, with all else as INIT left it.
    cpu.init().expect("INIT");
    cpu.start_up(0x12).expect("started");
    let started = cpu.save().expect("saved").registers;
    assert_eq!((started.rip, started.segments[1].base), (0, 0x1_2000));
}
