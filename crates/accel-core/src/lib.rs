//! What runs a guest's processors: the contract between a machine and an accelerator.
//!
//! An accelerator makes processors and maps memory for them. A processor runs until the loop around it must decide
//! ([`Exit`]); accesses to ports and device registers on the way are calls on the [`CpuBus`].
#![forbid(unsafe_code)]

mod registers;

use std::io;
use std::sync::Arc;

use guest_mem::Ram;

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
}

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
    /// Back to the state after power-on, beyond what [`Registers`] holds.
    ///
    /// # Errors
    /// The accelerator refuses.
    fn reset(&mut self) -> io::Result<()>;
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
}
