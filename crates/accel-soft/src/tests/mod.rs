//! Small guests on plain memory.

mod bench;
mod debug;
mod modes;
mod paging;
mod segments;
mod tasks;

use accel_core::{Accel, CpuBus, Exit, Registers, Slot, Vcpu};
use guest_mem::Ram;
use x86_cpu::cpuid::Features;

use crate::SoftAccel;

/// Records port writes, answers reads with a counter, offers interrupt vectors in order.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) written: Vec<(u16, usize, u32)>,
    memory: Vec<(u64, usize, u64)>,
    vectors: Vec<u8>,
    reads: u32,
    leave: bool,
    /// What a write to a device changes.
    change: Option<Box<dyn FnMut()>>,
}

impl CpuBus for Recorder {
    fn io_read(&mut self, _port: u16, _bytes: usize) -> u32 {
        self.reads += 1;
        0x1111 * self.reads
    }
    fn io_write(&mut self, port: u16, bytes: usize, value: u32) {
        self.written.push((port, bytes, value));
    }
    fn memory_read(&mut self, address: u64, _bytes: usize) -> u64 {
        address & 0xff
    }
    fn memory_write(&mut self, address: u64, bytes: usize, value: u64) {
        self.memory.push((address, bytes, value));
        if let Some(change) = &mut self.change {
            change();
        }
    }
    fn interrupt_waits(&mut self) -> bool {
        !self.vectors.is_empty()
    }
    fn acknowledge(&mut self) -> Option<u8> {
        (!self.vectors.is_empty()).then(|| self.vectors.remove(0))
    }
    fn must_leave(&mut self) -> bool {
        self.leave
    }
    fn msr_read(&mut self, _index: u32) -> Option<u64> {
        None
    }
    fn msr_write(&mut self, _index: u32, _value: u64) -> bool {
        false
    }
    fn task_priority(&mut self) -> u8 {
        0
    }
    fn set_task_priority(&mut self, _priority: u8) {}
    fn time(&mut self) -> u64 {
        1
    }
}

/// A machine with `code` at 0x1000 in 64 KiB of RAM, about to run it in real mode.
fn guest(code: &[u8]) -> (SoftAccel, Ram, Box<dyn Vcpu>) {
    let accel = SoftAccel::new(Features::default(), 1);
    let ram = Ram::new(0x1_0000).expect("memory");
    ram.write(0x1000, code).expect("fits");
    accel.map(&[slot(&ram, 0, 0x1_0000)]).expect("mapped");
    let mut cpu = accel.processor(0).expect("a processor");
    cpu.reset().expect("reset");
    let mut registers = Registers::power_on();
    registers.segments[1].base = 0;
    registers.segments[1].selector = 0;
    registers.rip = 0x1000;
    registers.general[4] = 0x8000;
    cpu.set_registers(&registers).expect("set");
    (accel, ram, cpu)
}

fn slot(ram: &Ram, start: u64, size: u64) -> Slot {
    Slot {
        start,
        size,
        ram: ram.clone(),
        offset: start,
        read_only: false,
    }
}

#[test]
fn the_state_can_be_saved_and_brought_back() {
    let accel = SoftAccel::new(Features::default(), 1);
    let mut cpu = accel.processor(0).expect("a processor");
    accel_core::contract::state_suite(cpu.as_mut());
}

#[test]
fn a_program_goes_on_on_another_processor() {
    // fninit; fldpi; movd xmm3,eax; mov eax,0x42; hlt; fstp qword [0x3000]; movd eax,xmm3; hlt
    let code = [
        0xdb, 0xe3, 0xd9, 0xeb, 0x66, 0x0f, 0x6e, 0xd8, 0xb8, 0x42, 0, 0xf4, 0xdd, 0x1e, 0, 0x30,
        0x66, 0x0f, 0x7e, 0xd8, 0xf4,
    ];
    let (accel, ram, mut cpu) = guest(&code);
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
    // mov al,0x42; out 0x10,al; in ax,0x20; out 0x12,ax; mov ax,0x2000; mov ds,ax; mov [0],al; mov al,[5]; out 0x10,al; hlt
    let code = [
        0xb0, 0x42, 0xe6, 0x10, 0xe5, 0x20, 0xe7, 0x12, 0xb8, 0x00, 0x20, 0x8e, 0xd8, 0xa2, 0, 0,
        0xa0, 5, 0, 0xe6, 0x10, 0xf4,
    ];
    let (_accel, _ram, mut cpu) = guest(&code);
    let mut bus = Recorder::default();
    assert_eq!(cpu.run(&mut bus), Exit::Halt);
    assert_eq!(
        bus.written,
        [(0x10, 1, 0x42), (0x12, 2, 0x1111), (0x10, 1, 5)]
    );
    assert_eq!(bus.memory, [(0x2_0000, 1, 0)]);
}

#[test]
fn what_a_write_maps_is_seen_by_the_next_instruction() {
    // mov ax,0x2000; mov ds,ax; mov al,[0]; mov [0],al; mov al,[3]; out 0x10,al; hlt
    let code = [
        0xb8, 0x00, 0x20, 0x8e, 0xd8, 0xa0, 0, 0, 0xa2, 0, 0, 0xa0, 3, 0, 0xe6, 0x10, 0xf4,
    ];
    let (accel, ram, mut cpu) = guest(&code);
    let flash = Ram::new(0x1000).expect("memory");
    let flash = Slot {
        start: 0x2_0000,
        size: 0x1000,
        ram: flash,
        offset: 0,
        read_only: true,
    };
    let low = slot(&ram, 0, 0x1_0000);
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
    // cld; mov di,0x3000; mov cx,3; mov dx,0x30; rep insw; hlt
    let code = [
        0xfc, 0xbf, 0, 0x30, 0xb9, 3, 0, 0xba, 0x30, 0, 0xf3, 0x6d, 0xf4,
    ];
    let (_accel, ram, mut cpu) = guest(&code);
    let mut bus = Recorder::default();
    assert_eq!(cpu.run(&mut bus), Exit::Halt);
    assert_eq!(ram.read_uint(0x3000, 6), Ok(0x3333_2222_1111));
    assert_eq!(bus.reads, 3);
}

#[test]
fn interrupts_come_when_the_guest_lets_them() {
    // cli; out 0x10,al; sti; jmp $ -- vector 0x20: out 0x12,al; hlt
    let (_accel, ram, mut cpu) = guest(&[0xfa, 0xe6, 0x10, 0xfb, 0xeb, 0xfe]);
    ram.write(0x2000, &[0xe6, 0x12, 0xf4]).expect("fits");
    ram.write_uint(0x80, 4, 0x2000).expect("fits");
    let mut bus = Recorder {
        vectors: vec![0x20],
        ..Recorder::default()
    };
    assert_eq!(cpu.run(&mut bus), Exit::Halt);
    let ports: Vec<u16> = bus.written.iter().map(|w| w.0).collect();
    assert_eq!(ports, [0x10, 0x12]);
}

#[test]
fn a_kick_leaves_an_endless_loop() {
    let (_accel, _ram, mut cpu) = guest(&[0xeb, 0xfe]);
    let kicker = cpu.kicker();
    let kicking = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        kicker.kick();
    });
    assert_eq!(cpu.run(&mut Recorder::default()), Exit::Kicked);
    kicking.join().expect("kicked");
    let mut bus = Recorder {
        leave: true,
        ..Recorder::default()
    };
    assert_eq!(cpu.run(&mut bus), Exit::Kicked);
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
    let (_accel, _ram, mut cpu) = guest(&code);
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
    let (_accel, ram, mut cpu) = guest(&code);
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
    let (_accel, _ram, mut cpu) = guest(&code);
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
        let (_accel, _ram, mut cpu) = guest(&code);
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
