//! A bus for a processor without a machine.

use crate::CpuBus;

/// A bus with nothing on it, on which nothing happens.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

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
