//! Small guests on plain memory.

mod bench;
mod debug;
mod modes;
mod paging;
mod segments;
mod tasks;

use accel_core::contract::{self, Recorder, guest};
use accel_core::{Accel, Exit, Registers, Slot};
use guest_mem::Ram;
use x86_cpu::cpuid::Features;

use crate::SoftAccel;

fn soft() -> SoftAccel {
    SoftAccel::new(Features::default(), 1)
}

#[test]
fn the_state_can_be_saved_and_brought_back() {
    let mut cpu = soft().processor(0).expect("a processor");
    contract::state_suite(cpu.as_mut());
}

#[test]
fn a_program_goes_on_on_another_processor() {
    // fninit; fldpi; movd xmm3,eax; mov eax,0x42; hlt; fstp qword [0x3000]; movd eax,xmm3; hlt
    let code = [
        0xdb, 0xe3, 0xd9, 0xeb, 0x66, 0x0f, 0x6e, 0xd8, 0xb8, 0x42, 0, 0xf4, 0xdd, 0x1e, 0, 0x30,
        0x66, 0x0f, 0x7e, 0xd8, 0xf4,
    ];
    let accel = soft();
    let (ram, mut cpu) = guest(&accel, &code);
    let mut registers = cpu.registers().expect("read");
    registers.cr4 = 0x600;
    registers.general[0] = 0x1234_5678;
    cpu.set_registers(&registers).expect("set");
    let mut bus = Recorder::default();
    assert_eq!(cpu.run(&mut bus), Exit::Halt);
    let saved = cpu.save().expect("saved");
    assert!(saved.activity.halted);
    let mut other = accel.processor(1).expect("a processor");
    other.restore(&saved).expect("restored");
    let mut registers = other.registers().expect("read");
    assert_eq!(registers.general[0] & 0xffff, 0x42);
    // Out of HLT.
    registers.general[0] = 0;
    other.set_registers(&registers).expect("set");
    assert_eq!(other.run(&mut bus), Exit::Halt);
    assert_eq!(other.registers().expect("read").general[0], 0x1234_5678);
    assert_eq!(ram.read_uint(0x3000, 8), Ok(std::f64::consts::PI.to_bits()));
}

#[test]
fn real_mode_code_reaches_ports_and_memory() {
    contract::ports_and_memory(&soft());
}

#[test]
fn what_a_write_maps_is_seen_by_the_next_instruction() {
    // mov ax,0x2000; mov ds,ax; mov al,[0]; mov [0],al; mov al,[3]; out 0x10,al; hlt
    let code = [
        0xb8, 0x00, 0x20, 0x8e, 0xd8, 0xa0, 0, 0, 0xa2, 0, 0, 0xa0, 3, 0, 0xe6, 0x10, 0xf4,
    ];
    let accel = soft();
    let (ram, mut cpu) = guest(&accel, &code);
    let flash = Ram::new(0x1000).expect("memory");
    let flash = Slot {
        start: 0x2_0000,
        size: 0x1000,
        ram: flash,
        offset: 0,
        read_only: true,
    };
    let low = Slot::in_place(&ram, 0, 0x1_0000);
    accel.map(&[low.clone(), flash]).expect("mapped");
    let mut bus = Recorder {
        change: Some(Box::new(move || {
            accel.map(std::slice::from_ref(&low)).expect("mapped");
        })),
        ..Recorder::default()
    };
    assert_eq!(cpu.run(&mut bus), Exit::Halt);
    assert_eq!(bus.memory, [(0x2_0000, 1, 0)]);
    // The device's answer, no longer the memory's.
    assert_eq!(bus.written, [(0x10, 1, 3)]);
}

#[test]
fn string_input_asks_once_a_unit() {
    contract::string_input(&soft());
}

#[test]
fn interrupts_come_when_the_guest_lets_them() {
    contract::interrupts_wait_for_the_guest(&soft());
}

#[test]
fn a_kick_leaves_an_endless_loop() {
    contract::kicks_end_an_endless_loop(&soft());
}

#[test]
fn registers_come_back_as_set() {
    contract::registers_come_back(&soft());
}

#[test]
fn slots_can_be_taken_away_and_made_read_only() {
    contract::slots_come_and_go(&soft());
}

#[test]
fn code_that_changes_itself_runs_as_changed() {
    // mov byte [cs:0x1007],0x43 ; nop... ; inc ax -> overwritten to inc bx (0x43); out 0x10,ax; xchg; hlt
    // 1000: c6 06 06 10 43   mov byte [0x1006],0x43
    // 1005: 90               nop
    // 1006: 40               inc ax  -> 43 inc bx
    // 1007: 89 d8            mov ax,bx
    // 1009: e7 10            out 0x10,ax
    // 100b: f4               hlt
    let code = [
        0xc6, 0x06, 0x06, 0x10, 0x43, 0x90, 0x40, 0x89, 0xd8, 0xe7, 0x10, 0xf4,
    ];
    let (_ram, mut cpu) = guest(&soft(), &code);
    let mut bus = Recorder::default();
    assert_eq!(cpu.run(&mut bus), Exit::Halt);
    assert_eq!(bus.written, [(0x10, 2, 1)]);
}

#[test]
fn a_device_that_writes_code_is_seen() {
    // 1000: call 0x2000; out 0x10,ax; call 0x2000; out 0x10,ax; hlt -- 2000: mov ax,1; ret
    let code = [
        0xe8, 0xfd, 0x0f, 0xe7, 0x10, 0xe8, 0xf8, 0x0f, 0xe7, 0x10, 0xf4,
    ];
    let (ram, mut cpu) = guest(&soft(), &code);
    ram.write(0x2000, &[0xb8, 1, 0, 0xc3]).expect("fits");
    let mut bus = Recorder::default();
    assert_eq!(cpu.run(&mut bus), Exit::Halt);
    ram.write(0x2000, &[0xb8, 2, 0, 0xc3]).expect("fits");
    let mut again = cpu.registers().expect("read");
    again.rip = 0x1000;
    cpu.set_registers(&again).expect("set");
    assert_eq!(cpu.run(&mut bus), Exit::Halt);
    let values: Vec<u32> = bus.written.iter().map(|w| w.2).collect();
    assert_eq!(values, [1, 1, 2, 2]);
}

#[test]
fn a_triple_fault_shuts_down() {
    // lidt [0x1008]; int3 with an empty table
    let code = [
        0x0f, 0x01, 0x1e, 0x08, 0x10, 0xcc, 0x90, 0x90, 0, 0, 0, 0, 0, 0,
    ];
    let (_ram, mut cpu) = guest(&soft(), &code);
    assert_eq!(cpu.run(&mut Recorder::default()), Exit::Shutdown);
}

#[test]
fn random_bytes_never_panic() {
    let mut seed = 0x1234_5678_9abc_def1u64;
    for round in 0..400 {
        let mut code = [0; 256];
        for byte in &mut code {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = seed.to_be_bytes()[0];
        }
        let (_ram, mut cpu) = guest(&soft(), &code);
        let mut registers = cpu.registers().expect("read");
        if round % 2 == 1 {
            registers = Registers::flat_32(0x1000);
            registers.general[4] = 0x8000;
        }
        registers.general[0] = seed;
        registers.general[3] = seed >> 7;
        cpu.set_registers(&registers).expect("set");
        let kicker = cpu.kicker();
        let kicking = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_micros(200));
            kicker.kick();
        });
        let _ = cpu.run(&mut Recorder::default());
        kicking.join().expect("kicked");
    }
}
