//! How fast the guest's instructions run: some hosts offer KVM without hardware for it, and emulate.

use std::io;
use std::time::{Duration, Instant};

use accel_core::{Accel, CS, CpuBus, Exit, Registers, Slot};
use guest_mem::{PAGE, Ram};

use crate::KvmAccel;

/// mov cx,2000; loop $; hlt
const CODE: [u8; 6] = [0xb9, 0xd0, 0x07, 0xe2, 0xfe, 0xf4];
/// Two thousand rounds take microseconds on hardware, and milliseconds without.
pub(crate) const TOO_LONG: Duration = Duration::from_micros(900);

/// A bus on which nothing happens.
struct Quiet;

impl CpuBus for Quiet {
    fn io_read(&mut self, _port: u16, _bytes: usize) -> u32 {
        u32::MAX
    }
    fn io_write(&mut self, _port: u16, _bytes: usize, _value: u32) {}
    fn memory_read(&mut self, _address: u64, _bytes: usize) -> u64 {
        u64::MAX
    }
    fn memory_write(&mut self, _address: u64, _bytes: usize, _value: u64) {}
    fn interrupt_waits(&mut self) -> bool {
        false
    }
    fn acknowledge(&mut self) -> Option<u8> {
        None
    }
    fn must_leave(&mut self) -> bool {
        false
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

/// How long the loop takes.
pub(crate) fn loop_time() -> io::Result<Duration> {
    let accel = KvmAccel::new()?;
    let ram = Ram::new(PAGE)?;
    ram.write(0, &CODE)
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    accel.map(&[Slot {
        start: 0,
        size: PAGE,
        ram,
        offset: 0,
        read_only: false,
    }])?;
    let mut cpu = accel.processor(0)?;
    cpu.reset()?;
    let mut registers = Registers::power_on();
    registers.segments[CS].base = 0;
    registers.segments[CS].selector = 0;
    registers.rip = 0;
    cpu.set_registers(&registers)?;
    let start = Instant::now();
    match cpu.run(&mut Quiet) {
        Exit::Halt => Ok(start.elapsed()),
        other => Err(io::Error::other(format!("{other:?}"))),
    }
}
