//! Instruction bytes for the software processor.

use std::time::Duration;

use accel_core::{Accel, Quiet, Registers, Slot};
use accel_soft::SoftAccel;
use guest_mem::Ram;
use x86_cpu::cpuid::Features;

/// How long a guest may run.
const PATIENCE: Duration = Duration::from_micros(300);

/// The first byte picks the mode, the next eight fill registers, the rest is code at 0x1000.
pub(crate) fn instructions(data: &[u8]) {
    let Some((head, code)) = data.split_at_checked(9) else {
        return;
    };
    let accel = SoftAccel::new(Features::default(), 1);
    let (Ok(ram), Ok(mut cpu)) = (Ram::new(0x1_0000), accel.processor(0)) else {
        return;
    };
    let slot = Slot::in_place(&ram, 0, 0x1_0000);
    let code = &code[..code.len().min(0x8000)];
    if ram.write(0x1000, code).is_err() || accel.map(&[slot]).is_err() || cpu.reset().is_err() {
        return;
    }
    let mut registers = if head[0] & 1 == 0 {
        Registers::real_mode(0x1000)
    } else {
        Registers::flat_32(0x1000)
    };
    if head[0] & 3 == 3 {
        long_mode(&ram, &mut registers);
    }
    registers.rflags = u64::from(head[0]) << 4 & 0xcd4 | 2;
    for (slot, byte) in registers.general.iter_mut().zip(head[1..].iter().cycle()) {
        *slot = u64::from(*byte) << (byte & 56) | u64::from(*byte) << 8;
    }
    registers.general[4] = 0x9000;
    if cpu.set_registers(&registers).is_err() {
        return;
    }
    let kicker = cpu.kicker();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(PATIENCE);
            kicker.kick();
        });
        let _ = cpu.run(&mut Quiet);
    });
}

/// Four levels of tables that map the first 2 MiB to themselves, for all privileges.
fn long_mode(ram: &Ram, registers: &mut Registers) {
    for (table, entry) in [(0xa000, 0xb007), (0xb000, 0xc007), (0xc000, 0x87)] {
        let _ = ram.write_uint(table, 8, entry);
    }
    registers.cr3 = 0xa000;
    registers.cr4 = 0x620;
    registers.cr0 = 0x8001_0011;
    registers.efer = 0x501;
    registers.segments[accel_core::CS].attributes = 0xa09b;
}

/// Programs to start from: moves, a loop, a string, a far jump, a trap.
pub(crate) fn instruction_seeds() -> Vec<Vec<u8>> {
    let codes: [&[u8]; 5] = [
        &[0xb8, 1, 0, 0, 0, 0x89, 0xc3, 0xf4],
        &[0xb9, 10, 0, 0, 0, 0x01, 0xc8, 0xff, 0xc9, 0x75, 0xfa, 0xf4],
        &[0xfc, 0xb9, 16, 0, 0, 0, 0xf3, 0xa4, 0xf3, 0xab, 0xf4],
        &[0xea, 0x00, 0x10, 0x00, 0x00, 0x0f, 0x01, 0xd0, 0xcc],
        &[
            0x66, 0x0f, 0x6e, 0xc0, 0xc5, 0xfd, 0xfe, 0xc1, 0xd9, 0xe8, 0xd8, 0xc0,
        ],
    ];
    codes
        .iter()
        .flat_map(|code| {
            (0..4u8).map(move |mode| [&[mode, 1, 2, 3, 4, 5, 6, 7, 8], *code].concat())
        })
        .collect()
}
