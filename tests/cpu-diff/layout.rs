//! Where things are: in a record of the shared file, and in the address space that a case sees.
//!
//! ```text
//! record   0 general registers (16)   128 rip, rflags, cs     192 code
//!        320 XSAVE area              1152 memory window      2176 what the signal handler found
//!
//! 0x20000000  data: one page; its last KiB is the window, the rest is zero at the start of a case
//! 0x20001000  nothing
//! 0x20002000  a page that can only be read
//! 0x21000000  code: a record's code at its end, INT3 before it
//! ```

/// Bytes of a record.
pub(crate) const RECORD: usize = 2368;
/// Records that go to the runner at once.
pub(crate) const BATCH: usize = 512;
/// rip, rflags, cs.
pub(crate) const FRAME: usize = 128;
/// Code.
pub(crate) const CODE: usize = 192;
/// Bytes of code; what is not used is INT3.
pub(crate) const CODE_BYTES: usize = 128;
/// XSAVE area: legacy part, header, upper halves of ymm.
pub(crate) const XSAVE: usize = 320;
/// Bytes of it.
pub(crate) const XSAVE_BYTES: usize = 832;
/// Memory window.
pub(crate) const WINDOW: usize = 1152;
/// Bytes of it.
pub(crate) const WINDOW_BYTES: usize = 1024;
/// The `gregs` of the signal handler's context.
pub(crate) const OUT: usize = 2176;
/// Words of it that are used.
pub(crate) const OUT_WORDS: usize = 23;

/// Linear address of the shared file, where neither round numbers nor BT's bit offsets reach.
pub(crate) const RECORDS_AT: u64 = 0x6a5d_0000;
/// Linear address of the data page.
pub(crate) const DATA_AT: u64 = 0x2000_0000;
/// Linear address of the window.
pub(crate) const WINDOW_AT: u64 = DATA_AT + 4096 - 1024;
/// Linear address of the page that can only be read.
pub(crate) const READ_ONLY_AT: u64 = 0x2000_2000;
/// Linear address of the code page.
pub(crate) const CODE_PAGE_AT: u64 = 0x2100_0000;
/// Where a case's code starts.
pub(crate) const CODE_AT: u64 = CODE_PAGE_AT + 2048;
/// Selector of 64-bit code in user mode under Linux.
pub(crate) const CS_64: u64 = 0x33;
/// Selector of 32-bit code in user mode under Linux.
pub(crate) const CS_32: u64 = 0x23;
/// Selector of data in user mode under Linux.
pub(crate) const SS: u64 = 0x2b;

/// Indexes into the handler's `gregs`.
pub(crate) mod out {
    /// Where rax rcx rdx rbx rsp rbp rsi rdi r8 to r15 are.
    pub(crate) const GENERAL: [usize; 16] = [13, 14, 12, 11, 15, 10, 9, 8, 0, 1, 2, 3, 4, 5, 6, 7];
    /// RIP.
    pub(crate) const RIP: usize = 16;
    /// RFLAGS.
    pub(crate) const RFLAGS: usize = 17;
    /// Error code.
    pub(crate) const ERROR: usize = 19;
    /// Vector.
    pub(crate) const VECTOR: usize = 20;
    /// CR2.
    pub(crate) const CR2: usize = 22;
}
