//! The invalidation queue (chapter 6.5.2): the guest writes descriptors of 16 bytes, the unit answers them in order.

use super::Unit;
use super::registers::{QUEUE, QUEUE_ERROR};

const CONTEXT: u64 = 1;
const IOTLB: u64 = 2;
const DEVICE: u64 = 3;
const INTERRUPTS: u64 = 4;
const WAIT: u64 = 5;

/// In a wait descriptor: interrupt, write a word.
const INTERRUPT: u64 = 1 << 4;
const WRITE: u64 = 1 << 5;

impl Unit {
    /// Answers what waits in the queue. It stands at a descriptor that makes no sense.
    pub(super) fn run_queue(&mut self) {
        let size = 0x1000 << (self.registers.queue & 7);
        let entries = size / 16;
        for _ in 0..entries {
            let registers = &self.registers;
            let stands = registers.status & QUEUE == 0 || registers.faults & QUEUE_ERROR != 0;
            if stands || registers.head == registers.tail {
                return;
            }
            if !self.answer(registers.head) {
                self.registers.faults |= QUEUE_ERROR;
                self.fault_event();
                return;
            }
            self.registers.head = (self.registers.head + 16) % size;
        }
    }

    /// Answers the descriptor at an offset; false when it makes no sense.
    fn answer(&mut self, offset: u64) -> bool {
        let at = (self.registers.queue & !0xfff).saturating_add(offset);
        let read = |at| self.memory.read_uint(at, 8);
        let (Ok(low), Ok(high)) = (read(at), read(at.saturating_add(8))) else {
            return false;
        };
        match low & 0xf {
            // Nothing is cached.
            CONTEXT | IOTLB | DEVICE | INTERRUPTS => true,
            WAIT => {
                if low & WRITE != 0 {
                    let status = (low >> 32).to_le_bytes();
                    if self.memory.write(high & !3, &status[..4]).is_err() {
                        return false;
                    }
                }
                if low & INTERRUPT != 0 {
                    self.registers.done |= 1;
                    self.done_event();
                }
                true
            }
            _ => false,
        }
    }
}
