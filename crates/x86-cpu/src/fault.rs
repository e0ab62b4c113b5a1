//! Exceptions (Intel SDM volume 3, chapter 6).

/// Divide error.
pub const DE: u8 = 0;
/// Debug.
pub const DB: u8 = 1;
/// Non-maskable interrupt.
pub const NMI: u8 = 2;
/// Breakpoint.
pub const BP: u8 = 3;
/// Overflow.
pub const OF: u8 = 4;
/// Bound range.
pub const BR: u8 = 5;
/// Invalid opcode.
pub const UD: u8 = 6;
/// Device not available.
pub const NM: u8 = 7;
/// Double fault.
pub const DF: u8 = 8;
/// Invalid TSS.
pub const TS: u8 = 10;
/// Segment not present.
pub const NP: u8 = 11;
/// Stack segment.
pub const SS: u8 = 12;
/// General protection.
pub const GP: u8 = 13;
/// Page fault.
pub const PF: u8 = 14;
/// x87 error.
pub const MF: u8 = 16;
/// Alignment check.
pub const AC: u8 = 17;
/// Machine check.
pub const MC: u8 = 18;
/// SIMD floating point.
pub const XM: u8 = 19;

/// An exception to deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fault {
    /// Vector.
    pub vector: u8,
    /// Error code, for those that have one.
    pub code: u16,
    /// The linear address of a page fault, for CR2.
    pub address: u64,
    /// A #GP for a non-canonical address: it is #SS if the access was to the stack segment.
    pub non_canonical: bool,
    /// Bits that a #DB sets in DR6.
    pub dr6: u64,
    /// It came up in a task just switched to: `rip` is already that task's.
    pub switched: bool,
}

impl Fault {
    /// Whether the exception pushes an error code.
    pub fn has_code(&self) -> bool {
        matches!(self.vector, DF | TS | NP | SS | GP | PF | AC)
    }
}

/// Why an instruction did not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trap {
    /// [`crate::CpuState::fault`] says which exception. Nothing of the instruction has happened, beyond what the
    /// hardware leaves behind as well.
    Fault,
    /// Nothing has happened; the instruction is to be run again outside its block (it writes to code).
    Alone,
    /// A long instruction stopped between two of its steps, its registers say how far it came: look for interrupts and
    /// run it again.
    Again,
}

/// What most of this crate returns. The error is one byte so that it travels in a register.
pub type Step<T = ()> = Result<T, Trap>;
