//! What runs a guest's processors: the contract between a machine and an accelerator.
//!
//! An accelerator makes processors and maps memory for them. A processor runs until the loop around it must decide
//! ([`Exit`]); accesses to ports and device registers on the way are calls on the [`CpuBus`].
#![forbid(unsafe_code)]

#[cfg(feature = "contract-tests")]
pub mod contract;
mod extended;
mod quiet;
mod registers;

use std::io;
use std::sync::Arc;

use guest_mem::Ram;

pub use extended::{Activity, Extended, Float, SavedCpu};
pub use quiet::Quiet;
pub use registers::{CS, Registers, Segment, Table};

/// The processor's way out: ports, device registers, the interrupt controllers.
pub trait CpuBus {
    /// Reads `bytes` (1, 2 or 4) from a port.
    fn io_read(&mut self, port: u16, bytes: usize) -> u32;
    /// Writes `bytes` (1, 2 or 4) to a port.
    fn io_write(&mut self, port: u16, bytes: usize, value: u32);
    /// Reads `bytes` (1 to 8) at an address where no RAM is mapped.
    fn memory_read(&mut self, address: u64, bytes: usize) -> u64;
    /// Writes `bytes` (1 to 8) at an address where no writable RAM is mapped.
    fn memory_write(&mut self, address: u64, bytes: usize, value: u64);
    /// Whether a maskable interrupt waits.
    fn interrupt_waits(&mut self) -> bool;
    /// Takes the vector of the most urgent interrupt; `None` when the request went away.
    fn acknowledge(&mut self) -> Option<u8>;
    /// Whether [`Vcpu::run`] should return [`Exit::Kicked`] before it enters the guest again.
    fn must_leave(&mut self) -> bool;
    /// Reads a model-specific register of the machine's: [`MSR_APIC_BASE`], [`MSR_TSC_DEADLINE`] and those of x2APIC
    /// ([`MSR_X2APIC`]). `None` is a general protection fault.
    fn msr_read(&mut self, index: u32) -> Option<u64>;
    /// Writes such a register; false is a general protection fault. The TSC deadline crosses in nanoseconds of
    /// [`CpuBus::time`], zero for none: the processor knows how its counter runs.
    fn msr_write(&mut self, index: u32, value: u64) -> bool;
    /// CR8: bits 4 to 7 of the task priority.
    fn task_priority(&mut self) -> u8;
    /// Sets CR8.
    fn set_task_priority(&mut self, priority: u8);
    /// Guest time in nanoseconds; it stands still while the machine is stopped. What a time-stamp counter counts.
    fn time(&mut self) -> u64;
}

/// Where the interrupt controller is, and whether it is on.
pub const MSR_APIC_BASE: u32 = 0x1b;
/// When the timer fires in TSC-deadline mode.
pub const MSR_TSC_DEADLINE: u32 = 0x6e0;
/// The registers of an x2APIC.
pub const MSR_X2APIC: std::ops::RangeInclusive<u32> = 0x800..=0x83f;

/// Why a processor stopped running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It executed HLT and no interrupt waits.
    Halt,
    /// Someone kicked it, or the bus asked it to leave.
    Kicked,
    /// Triple fault.
    Shutdown,
    /// The accelerator cannot go on; the text says why.
    Failed(String),
}

/// Makes a running processor leave the guest soon; kept by other threads.
pub trait Kick: Send + Sync {
    /// Kicks. A processor that is not running leaves at its next run.
    fn kick(&self);
}

/// One processor. It is made and run on one thread.
pub trait Vcpu: Send {
    /// Runs the guest.
    fn run(&mut self, bus: &mut dyn CpuBus) -> Exit;
    /// Reads all registers.
    ///
    /// # Errors
    /// The accelerator refuses.
    fn registers(&self) -> io::Result<Registers>;
    /// Sets all registers.
    ///
    /// # Errors
    /// The accelerator refuses the values.
    fn set_registers(&mut self, registers: &Registers) -> io::Result<()>;
    /// Everything the processor holds.
    ///
    /// # Errors
    /// The accelerator refuses.
    fn save(&self) -> io::Result<SavedCpu>;
    /// Takes over what was saved, by this accelerator or by another. What it has no place for is left out.
    ///
    /// # Errors
    /// The accelerator refuses the values.
    fn restore(&mut self, saved: &SavedCpu) -> io::Result<()>;
    /// Back to the state after power-on, all of it.
    ///
    /// # Errors
    /// The accelerator refuses.
    fn reset(&mut self) -> io::Result<()>;
    /// INIT: as reset, but caches, FPU, SSE and most model-specific registers stay (Intel SDM volume 3, table 10-1).
    ///
    /// # Errors
    /// The accelerator refuses.
    fn init(&mut self) -> io::Result<()>;
    /// Start-up message: real mode at `vector` * 4096, after INIT.
    ///
    /// # Errors
    /// The accelerator refuses.
    fn start_up(&mut self, vector: u8) -> io::Result<()> {
        let mut registers = self.registers()?;
        registers.segments[CS].selector = u16::from(vector) << 8;
        registers.segments[CS].base = u64::from(vector) << 12;
        registers.rip = 0;
        self.set_registers(&registers)
    }
    /// A non-maskable interrupt, taken when the guest can.
    fn nmi(&mut self);
    /// A system management interrupt; a processor without that mode drops it.
    fn smi(&mut self) {}
    /// Whether address bit 20 is let through. An accelerator that cannot mask it goes on with it let through.
    fn set_a20(&mut self, _on: bool) {}
    /// How others kick it. To be called on the thread that will run the processor.
    fn kicker(&self) -> Arc<dyn Kick>;
}

/// A stretch of guest memory that the processor reaches without the bus.
#[derive(Debug, Clone)]
pub struct Slot {
    /// First guest-physical address, a multiple of the page size.
    pub start: u64,
    /// Size in bytes, a multiple of the page size.
    pub size: u64,
    /// The memory.
    pub ram: Ram,
    /// Where the stretch starts in it.
    pub offset: u64,
    /// Writes go to the bus.
    pub read_only: bool,
}

impl Slot {
    /// `size` bytes of `ram`, to be written too, at the address that is their place in it.
    pub fn in_place(ram: &Ram, start: u64, size: u64) -> Self {
        Self {
            start,
            size,
            ram: ram.clone(),
            offset: start,
            read_only: false,
        }
    }

    /// Whether both map the same memory at the same place in the same way.
    pub fn same(&self, other: &Self) -> bool {
        (self.start, self.size, self.offset, self.read_only)
            == (other.start, other.size, other.offset, other.read_only)
            && self.ram.same(&other.ram)
    }
}

/// A virtual machine's accelerator.
pub trait Accel: Send + Sync {
    /// The name `-accel` has for it.
    fn name(&self) -> &'static str;
    /// Makes processor `index`.
    ///
    /// # Errors
    /// The accelerator refuses.
    fn processor(&self, index: u8) -> io::Result<Box<dyn Vcpu>>;
    /// Makes `slots` the whole mapped memory.
    ///
    /// # Errors
    /// The accelerator refuses a slot; what is mapped then is not known.
    fn map(&self, slots: &[Slot]) -> io::Result<()>;
    /// Whether guest time stands still until somebody moves it.
    fn time_by_hand(&self) -> bool {
        false
    }
}
