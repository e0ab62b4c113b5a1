//! A few bytes of code on plain memory, and a bus that records what they do.

use std::time::Duration;

use guest_mem::Ram;

use crate::{Accel, CpuBus, Exit, Registers, Slot, Vcpu};

/// Size of the memory.
const RAM: u64 = 0x1_0000;
/// Where the code is.
const CODE: u64 = 0x1000;

/// Records writes, answers port reads with a counter and memory reads with the address, offers interrupt vectors in order.
#[derive(Default)]
pub struct Recorder {
    /// Writes to ports: which, bytes, value.
    pub written: Vec<(u16, usize, u32)>,
    /// Writes to memory: where, bytes, value.
    pub memory: Vec<(u64, usize, u64)>,
    /// Interrupts to come.
    pub vectors: Vec<u8>,
    /// How often ports were read.
    pub reads: u32,
    /// The processor is to leave.
    pub leave: bool,
    /// What a write to memory changes.
    pub change: Option<Box<dyn FnMut()>>,
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

/// 64 KiB of RAM from address zero on with `code` at 0x1000, and a processor about to run it in real mode.
///
/// # Panics
/// When the accelerator refuses.
pub fn guest(accel: &dyn Accel, code: &[u8]) -> (Ram, Box<dyn Vcpu>) {
    let ram = Ram::new(RAM).expect("memory");
    ram.write(CODE, code).expect("fits");
    accel
        .map(&[Slot::in_place(&ram, 0, RAM)])
        .expect("memory can be mapped");
    let mut cpu = accel.processor(0).expect("a processor");
    cpu.reset().expect("reset");
    let mut registers = Registers::real_mode(CODE);
    registers.general[4] = 0x8000;
    cpu.set_registers(&registers).expect("set");
    (ram, cpu)
}

/// Ports and what is no memory are the bus's.
///
/// # Panics
/// When the accelerator does not keep the contract; as the other suites here.
pub fn ports_and_memory(accel: &dyn Accel) {
    // mov al,0x42; out 0x10,al; in ax,0x20; out 0x12,ax; mov ax,0x2000; mov ds,ax; mov [0],al; mov al,[5]; out 0x10,al; hlt
    let code = [
        0xb0, 0x42, 0xe6, 0x10, 0xe5, 0x20, 0xe7, 0x12, 0xb8, 0x00, 0x20, 0x8e, 0xd8, 0xa2, 0, 0,
        0xa0, 5, 0, 0xe6, 0x10, 0xf4,
    ];
    let (_ram, mut cpu) = guest(accel, &code);
    let mut bus = Recorder::default();
    assert_eq!(cpu.run(&mut bus), Exit::Halt);
    assert_eq!(
        bus.written,
        [(0x10, 1, 0x42), (0x12, 2, 0x1111), (0x10, 1, 5)]
    );
    assert_eq!(bus.memory, [(0x2_0000, 1, 0)]);
}

/// String input asks once a unit.
///
/// # Panics
/// See [`ports_and_memory`].
pub fn string_input(accel: &dyn Accel) {
    // cld; mov di,0x3000; mov cx,3; mov dx,0x30; rep insw; hlt
    let code = [
        0xfc, 0xbf, 0, 0x30, 0xb9, 3, 0, 0xba, 0x30, 0, 0xf3, 0x6d, 0xf4,
    ];
    let (ram, mut cpu) = guest(accel, &code);
    let mut bus = Recorder::default();
    assert_eq!(cpu.run(&mut bus), Exit::Halt);
    assert_eq!(ram.read_uint(0x3000, 6), Ok(0x3333_2222_1111));
    assert_eq!(bus.reads, 3);
}

/// Interrupts come when the guest lets them.
///
/// # Panics
/// See [`ports_and_memory`].
pub fn interrupts_wait_for_the_guest(accel: &dyn Accel) {
    // cli; out 0x10,al; sti; jmp $ -- vector 0x20: out 0x12,al; hlt
    let (ram, mut cpu) = guest(accel, &[0xfa, 0xe6, 0x10, 0xfb, 0xeb, 0xfe]);
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

/// A kick from another thread leaves an endless loop, and the bus can ask to leave.
///
/// # Panics
/// See [`ports_and_memory`].
pub fn kicks_end_an_endless_loop(accel: &dyn Accel) {
    let (_ram, mut cpu) = guest(accel, &[0xeb, 0xfe]);
    let kicker = cpu.kicker();
    let kicking = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
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

/// Registers come back as they were set, and those count.
///
/// # Panics
/// See [`ports_and_memory`].
pub fn registers_come_back(accel: &dyn Accel) {
    let (_ram, mut cpu) = guest(accel, &[0xf4]);
    let mut wanted = Registers::flat_32(CODE);
    wanted.general[7] = 0x1234_5678;
    cpu.set_registers(&wanted).expect("set");
    let mut found = cpu.registers().expect("read");
    assert_eq!(
        (found.general, found.rip, found.cr0),
        (wanted.general, CODE, 0x11)
    );
    assert_eq!(
        found.segments[1].attributes & 0xf09a,
        wanted.segments[1].attributes & 0xf09a
    );
    assert_eq!(cpu.run(&mut Recorder::default()), Exit::Halt);
    found = cpu.registers().expect("read");
    assert_eq!(found.rip, CODE + 1);
}

/// Slots can be taken away and made read-only.
///
/// # Panics
/// See [`ports_and_memory`].
pub fn slots_come_and_go(accel: &dyn Accel) {
    // mov [0x5000],al; mov al,[0x5000]; out 0x10,al; hlt
    let code = [0xa2, 0, 0x50, 0xa0, 0, 0x50, 0xe6, 0x10, 0xf4];
    let (ram, mut cpu) = guest(accel, &code);
    ram.write(0x5000, &[0x77]).expect("fits");
    let rom = Slot {
        read_only: true,
        ..Slot::in_place(&ram, 0x5000, 0x1000)
    };
    let (low, high) = (0x5000, 0x6000);
    let slots = [
        Slot::in_place(&ram, 0, low),
        rom,
        Slot::in_place(&ram, high, RAM - high),
    ];
    accel.map(&slots).expect("memory can be mapped");
    let mut bus = Recorder::default();
    assert_eq!(cpu.run(&mut bus), Exit::Halt);
    assert_eq!(bus.memory, [(0x5000, 1, 0)]);
    assert_eq!(bus.written, [(0x10, 1, 0x77)]);
}
