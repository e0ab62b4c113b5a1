//! Register numbers and the bits of control registers and descriptors.

/// Index of a general register: rax rcx rdx rbx rsp rbp rsi rdi r8 to r15.
pub mod reg {
    /// RAX.
    pub const RAX: usize = 0;
    /// RCX.
    pub const RCX: usize = 1;
    /// RDX.
    pub const RDX: usize = 2;
    /// RBX.
    pub const RBX: usize = 3;
    /// RSP.
    pub const RSP: usize = 4;
    /// RBP.
    pub const RBP: usize = 5;
    /// RSI.
    pub const RSI: usize = 6;
    /// RDI.
    pub const RDI: usize = 7;
    /// R11.
    pub const R11: usize = 11;
    /// Always zero: the base or index of an address that has none.
    pub const NONE: usize = 16;
    /// Instruction pointer of the running block's first instruction.
    pub const BLOCK: usize = 17;
}

/// Index of a segment register.
pub mod seg {
    /// ES.
    pub const ES: usize = 0;
    /// CS.
    pub const CS: usize = 1;
    /// SS.
    pub const SS: usize = 2;
    /// DS.
    pub const DS: usize = 3;
    /// FS.
    pub const FS: usize = 4;
    /// GS.
    pub const GS: usize = 5;
    /// No segment: what ES, CS and DS are in 64-bit code.
    pub const FLAT: usize = 6;
    /// No segment, but a non-canonical address is #SS: what SS is in 64-bit code.
    pub const FLAT_STACK: usize = 7;
}

/// Control register bits.
pub mod cr {
    /// CR0: protected mode.
    pub const PE: u64 = 1;
    /// CR0: monitor coprocessor.
    pub const MP: u64 = 1 << 1;
    /// CR0: no x87.
    pub const EM: u64 = 1 << 2;
    /// CR0: task switched.
    pub const TS: u64 = 1 << 3;
    /// CR0: extension type, always one.
    pub const ET: u64 = 1 << 4;
    /// CR0: x87 errors by exception.
    pub const NE: u64 = 1 << 5;
    /// CR0: write protect.
    pub const WP: u64 = 1 << 16;
    /// CR0: alignment mask.
    pub const AM: u64 = 1 << 18;
    /// CR0: not write-through.
    pub const NW: u64 = 1 << 29;
    /// CR0: cache disable.
    pub const CD: u64 = 1 << 30;
    /// CR0: paging.
    pub const PG: u64 = 1 << 31;
    /// CR4: virtual-8086 extensions.
    pub const VME: u64 = 1;
    /// CR4: protected-mode virtual interrupts.
    pub const PVI: u64 = 1 << 1;
    /// CR4: RDTSC is privileged.
    pub const TSD: u64 = 1 << 2;
    /// CR4: debugging extensions.
    pub const DE: u64 = 1 << 3;
    /// CR4: large pages.
    pub const PSE: u64 = 1 << 4;
    /// CR4: wide page tables.
    pub const PAE: u64 = 1 << 5;
    /// CR4: machine check.
    pub const MCE: u64 = 1 << 6;
    /// CR4: global pages.
    pub const PGE: u64 = 1 << 7;
    /// CR4: RDPMC for all.
    pub const PCE: u64 = 1 << 8;
    /// CR4: FXSAVE and SSE.
    pub const OSFXSR: u64 = 1 << 9;
    /// CR4: SSE exceptions.
    pub const OSXMMEXCPT: u64 = 1 << 10;
    /// CR4: user-mode instruction prevention.
    pub const UMIP: u64 = 1 << 11;
    /// CR4: 5-level paging.
    pub const LA57: u64 = 1 << 12;
    /// CR4: RDFSBASE and its kin.
    pub const FSGSBASE: u64 = 1 << 16;
    /// CR4: process-context identifiers.
    pub const PCIDE: u64 = 1 << 17;
    /// CR4: XSAVE.
    pub const OSXSAVE: u64 = 1 << 18;
    /// CR4: no supervisor execution of user pages.
    pub const SMEP: u64 = 1 << 20;
    /// CR4: no supervisor access to user pages.
    pub const SMAP: u64 = 1 << 21;
    /// CR4: protection keys for user pages.
    pub const PKE: u64 = 1 << 22;
    /// CR4: protection keys for supervisor pages.
    pub const PKS: u64 = 1 << 24;
}

/// EFER bits.
pub mod efer {
    /// SYSCALL.
    pub const SCE: u64 = 1;
    /// Long mode enabled.
    pub const LME: u64 = 1 << 8;
    /// Long mode active.
    pub const LMA: u64 = 1 << 10;
    /// No-execute.
    pub const NXE: u64 = 1 << 11;
    /// SVM.
    pub const SVME: u64 = 1 << 12;
    /// Fast FXSAVE.
    pub const FFXSR: u64 = 1 << 14;
}

/// Attribute bits of a segment (descriptor bits 40 to 55).
pub mod attr {
    /// Accessed.
    pub const ACCESSED: u16 = 1;
    /// Writable data, readable code.
    pub const RW: u16 = 2;
    /// Expand-down data, conforming code.
    pub const DC: u16 = 4;
    /// Code.
    pub const CODE: u16 = 8;
    /// Not a system segment.
    pub const S: u16 = 0x10;
    /// Privilege level, two bits.
    pub const DPL: u16 = 0x60;
    /// Present.
    pub const PRESENT: u16 = 0x80;
    /// 64-bit code.
    pub const L: u16 = 0x2000;
    /// 32-bit.
    pub const DB: u16 = 0x4000;
    /// Limit in pages.
    pub const G: u16 = 0x8000;
}
