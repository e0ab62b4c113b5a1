use super::*;
use accel_core::{CpuBus, Exit, Registers};
use guest_mem::Ram;

/// Records port writes, answers reads with a counter, offers interrupt vectors in order.
#[derive(Default)]
struct Recorder {
    written: Vec<(u16, usize, u32)>,
    memory: Vec<(u64, usize, u64)>,
    vectors: Vec<u8>,
    reads: u32,
    leave: bool,
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
        0
    }
}

/// A machine with `code` at 0x1000 in 64 KiB of RAM, about to run it in real mode.
fn guest(code: &[u8]) -> Option<(KvmAccel, Ram, Box<dyn Vcpu>)> {
    let accel = match KvmAccel::new() {
        Ok(accel) => accel,
        Err(error) => {
            eprintln!("skipped: no KVM here: {error}");
            return None;
        }
    };
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
    Some((accel, ram, cpu))
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
    if let Some((_accel, _ram, mut cpu)) = guest(&[0xf4]) {
        accel_core::contract::state_suite(cpu.as_mut());
    }
}

#[test]
fn real_mode_code_reaches_ports_and_memory() {
    // mov al,0x42; out 0x10,al; in ax,0x20; out 0x12,ax; mov ax,0x2000; mov ds,ax; mov [0],al; mov al,[5]; out 0x10,al; hlt
    let code = [
        0xb0, 0x42, 0xe6, 0x10, 0xe5, 0x20, 0xe7, 0x12, 0xb8, 0x00, 0x20, 0x8e, 0xd8, 0xa2, 0, 0,
        0xa0, 5, 0, 0xe6, 0x10, 0xf4,
    ];
    let Some((_accel, _ram, mut cpu)) = guest(&code) else {
        return;
    };
    let mut bus = Recorder::default();
    assert_eq!(cpu.run(&mut bus), Exit::Halt);
    assert_eq!(
        bus.written,
        [(0x10, 1, 0x42), (0x12, 2, 0x1111), (0x10, 1, 5)]
    );
    assert_eq!(bus.memory, [(0x2_0000, 1, 0)]);
}

#[test]
fn string_input_asks_once_a_unit() {
    // cld; mov di,0x3000; mov cx,3; mov dx,0x30; rep insw; hlt
    let code = [
        0xfc, 0xbf, 0, 0x30, 0xb9, 3, 0, 0xba, 0x30, 0, 0xf3, 0x6d, 0xf4,
    ];
    let Some((_accel, ram, mut cpu)) = guest(&code) else {
        return;
    };
    let mut bus = Recorder::default();
    assert_eq!(cpu.run(&mut bus), Exit::Halt);
    assert_eq!(ram.read_uint(0x3000, 6), Ok(0x3333_2222_1111));
    assert_eq!(bus.reads, 3);
}

#[test]
fn interrupts_come_when_the_guest_lets_them() {
    // cli; out 0x10,al; sti; jmp $ -- vector 0x20: out 0x12,al; hlt
    let code = [0xfa, 0xe6, 0x10, 0xfb, 0xeb, 0xfe];
    let Some((_accel, ram, mut cpu)) = guest(&code) else {
        return;
    };
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
    let Some((_accel, _ram, mut cpu)) = guest(&[0xeb, 0xfe]) else {
        return;
    };
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
fn registers_come_back_as_set() {
    let Some((_accel, _ram, mut cpu)) = guest(&[0xf4]) else {
        return;
    };
    let mut wanted = Registers::flat_32(0x1000);
    wanted.general[7] = 0x1234_5678;
    cpu.set_registers(&wanted).expect("set");
    let mut found = cpu.registers().expect("read");
    assert_eq!(
        (found.general, found.rip, found.cr0),
        (wanted.general, 0x1000, 0x11)
    );
    assert_eq!(
        found.segments[1].attributes & 0xf09a,
        wanted.segments[1].attributes & 0xf09a
    );
    assert_eq!(cpu.run(&mut Recorder::default()), Exit::Halt);
    found = cpu.registers().expect("read");
    assert_eq!(found.rip, 0x1001);
}

#[test]
fn slots_can_be_taken_away_and_made_read_only() {
    // mov [0x5000],al; mov al,[0x5000]; out 0x10,al; hlt
    let code = [0xa2, 0, 0x50, 0xa0, 0, 0x50, 0xe6, 0x10, 0xf4];
    let Some((accel, ram, mut cpu)) = guest(&code) else {
        return;
    };
    ram.write(0x5000, &[0x77]).expect("fits");
    let mut rom = slot(&ram, 0x5000, 0x1000);
    rom.read_only = true;
    accel
        .map(&[slot(&ram, 0, 0x5000), rom, slot(&ram, 0x6000, 0xa000)])
        .expect("mapped");
    let mut bus = Recorder::default();
    assert_eq!(cpu.run(&mut bus), Exit::Halt);
    assert_eq!(bus.memory, [(0x5000, 1, 0)]);
    assert_eq!(bus.written, [(0x10, 1, 0x77)]);
}
